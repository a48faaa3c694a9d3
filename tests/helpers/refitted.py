"""Refits of served stores that end at a chosen moment."""


class Killed(BaseException):
    """Ends a refit as the end of its process would."""


def kill_at(patch, kind, step):
    """Raise `Killed` before or after a change that a refit makes to the database: at the `step`th of these moments."""
    moments = []

    def around(change):
        def call(*values, **options):
            for act in (lambda: None, lambda: change(*values, **options)):
                result = act()
                moments.append(change.__name__)
                if len(moments) == step:
                    raise Killed
            return result

        return call

    collection = kind.collection.__annotations__["return"].__args__[0]
    changes = ["create_like", "put", "delete", "replace", "_rename_to"]
    for changed, name in [*((collection, name) for name in changes), (type(kind), "add")]:
        if hasattr(changed, name):
            patch.setattr(changed, name, around(getattr(changed, name)))


def rows_of(store):
    """The rows of all documents that a store finds."""
    return sorted(int(hit.metadata["row"]) for hit in store.similarity_search("red cat", k=200))
