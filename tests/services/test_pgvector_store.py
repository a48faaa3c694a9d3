"""PGVectorStore's tables, in a real PostgreSQL: the context is in the comment on the table."""

import pytest
from served import PGVectorStore

from cde_retrievers.errors import ConfigurationError
from cde_retrievers.langchain import ContextualRetriever, check_index, read_context, write_context

pytestmark = [pytest.mark.services, pytest.mark.slow]
COMMENTS = ["of the 'manual': 100% \\n $$ {x} :name", "two\nlines"]


@pytest.fixture
def service(postgres, tmp_path):
    opened = PGVectorStore(postgres, tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def sql(postgres):
    """Runs a statement, and returns its first value."""
    psycopg = pytest.importorskip("psycopg")

    def run(statement, values=None):
        with psycopg.connect(postgres.address("postgresql")) as connection:
            cursor = connection.execute(statement, values)
            return cursor.fetchone()[0] if cursor.description else None

    return run


@pytest.mark.parametrize("comment", COMMENTS)
def test_a_comment_on_the_table_keeps_its_text(service, sql, guarded, other, comment):
    name, embeddings, foreign = service.name(), guarded(), guarded(other)
    store = service.open(embeddings, name)
    from psycopg import sql as parts

    sql(parts.SQL("COMMENT ON TABLE {} IS {}").format(parts.Identifier(name), parts.Literal(comment)))
    assert read_context(store) is None
    for each in (embeddings, foreign, embeddings):
        write_context(store, each, replace=True)
        found = sql("SELECT obj_description(%s::regclass, 'pg_class')", [name])
        assert found == f"{comment}\ncde_context={each.context_fingerprint}"
    assert check_index(store, embeddings).verdict == "same context"


def test_a_table_of_an_odd_name_in_another_schema(service, sql, guarded):
    embeddings, name = guarded(), f'The "{service.name()}" %s'
    sql('CREATE SCHEMA IF NOT EXISTS "My Schema"')
    engine = service.engine()
    engine.init_vectorstore_table(name, 32, schema_name="My Schema")
    quoted = name.replace('"', '""')  # PGVectorStore itself does not escape names
    store = service.store_class().create_sync(engine, embeddings, name, schema_name="My Schema")
    write_context(store, embeddings)
    assert read_context(store) == embeddings.context_fingerprint
    found = sql("SELECT obj_description(%s::regclass, 'pg_class')", [f'"My Schema"."{quoted}"'])
    assert found == f"cde_context={embeddings.context_fingerprint}"


async def test_an_engine_without_an_event_loop_cannot_be_asked_and_says_so(postgres, service, guarded):
    from langchain_postgres import PGEngine
    from sqlalchemy.ext.asyncio import create_async_engine

    embeddings, name = guarded(), service.name()
    service.options(name)
    pool = create_async_engine(postgres.address())
    store = await service.store_class().create(PGEngine.from_engine(pool), embeddings, name)
    with pytest.raises(ConfigurationError, match="its engine has no event loop"):
        read_context(store)
    retriever = ContextualRetriever(embeddings=embeddings, vectorstore=store)
    assert await retriever.ainvoke("red cat") == []
    await pool.dispose()
