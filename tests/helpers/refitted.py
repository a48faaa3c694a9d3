"""Refits of served stores that end at a chosen moment."""


class Killed(BaseException):
    """Ends a refit as the end of its process would."""


def end():
    raise Killed


def kill_at(patch, kind, step):
    """Kill a refit of a kind of LangChain store."""
    collection = kind.collection.__annotations__["return"].__args__[0]
    kill_changes_at(patch, [(collection, None), (type(kind), "add")], step)


def kill_changes_at(patch, changed, step):
    """Call `end` before or after a change that a refit makes to the database: at the `step`th of these moments.

    Changes are pairs of a class and the name of a method, which is None for all changes of a `Collection`.
    """
    moments = []

    def around(change):
        def call(*values, **options):
            for act in (lambda: None, lambda: change(*values, **options)):
                result = act()
                moments.append(change.__name__)
                if len(moments) == step:
                    end()
            return result

        return call

    for kind, name in changed:
        for each in ("create_like", "put", "delete", "replace", "_rename_to") if name is None else (name,):
            if hasattr(kind, each):
                patch.setattr(kind, each, around(getattr(kind, each)))


def rows_of(store):
    """The rows of all documents that a store finds."""
    return sorted(int(hit.metadata["row"]) for hit in store.similarity_search("red cat", k=200))
