"""PGVectorStore's tables, in a real PostgreSQL: the context is in the comment on the table."""

import pytest
from served import PGVectorStore
from servers import OVER_SERVERS

from cde_retrievers.errors import ConfigurationError, ContextMismatchError
from cde_retrievers.langchain import ContextualRetriever, check_index, read_context, refit_store, write_context

pytestmark = OVER_SERVERS
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


def test_a_refit_keeps_columns_indexes_privileges_and_comment(service, sql, documents, guarded, tmp_path):
    from langchain_postgres import Column

    name, embeddings = f'The "{service.name()[:20]}"', guarded(["red cat", "blue dog"])
    sql('CREATE SCHEMA IF NOT EXISTS "My Schema"')
    sql("DO $$ BEGIN CREATE ROLE reader; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
    engine, schema = service.engine(), {"schema_name": "My Schema"}
    columns = {"metadata_columns": [Column("row", "integer")], "id_column": Column("number", "bigint")}
    engine.init_vectorstore_table(name, 32, **schema, **columns)
    table = '"My Schema"."' + name.replace('"', '""') + '"'
    sql(f"ALTER TABLE {table} ADD COLUMN length integer GENERATED ALWAYS AS (length(content)) STORED")
    sql(f"CREATE INDEX ON {table} USING hnsw (embedding vector_cosine_ops)")
    sql(f"GRANT SELECT ON {table} TO reader, PUBLIC")
    sql(f"COMMENT ON TABLE {table} IS 'mine'")
    texts = [document.page_content for document in documents]
    insertion = f"INSERT INTO {table} (number, content, embedding, row, langchain_metadata) VALUES (%s, %s, %s, %s, %s)"
    for row, (text, vector) in enumerate(zip(texts, embeddings.embed_documents(texts), strict=True)):
        sql(insertion, [row, text, str(vector), row, '{"about": {"deep": [1, 2.5, null]}}'])
    options = {"id_column": "number", "metadata_columns": ["row"]}
    store = service.store_class().create_sync(engine, embeddings, name, **schema, **options)
    done = refit_store(store, embeddings, tmp_path / "new", batch_size=20)
    assert done.documents == done.embedded == len(documents)
    old = '"My Schema"."' + done.old_collection.replace('"', '""') + '"'
    for column in ("row", "content", "length", "langchain_metadata::jsonb - 'cde_context'"):
        now, before = (sql(f"SELECT jsonb_agg({column} ORDER BY number) FROM {each}") for each in (table, old))
        assert now == before
        assert len(now) == len(documents)
    privileges = "SELECT relacl::text FROM pg_class WHERE oid = %s::regclass"
    assert sql(privileges, [table]) == sql(privileges, [old])
    comment = sql("SELECT obj_description(%s::regclass, 'pg_class')", [table])
    assert comment == f"mine\ncde_context={done.embeddings.context_fingerprint}"
    indexes = """SELECT string_agg(amname, ',' ORDER BY amname) FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
      JOIN pg_am ON pg_am.oid = relam WHERE indrelid = %s::regclass"""
    assert sql(indexes, [table]) == "btree,hnsw"


def test_a_table_whose_documents_carry_no_stamp_is_refitted(service, documents, guarded, tmp_path):
    name, embeddings = service.name(), guarded(["red cat", "blue dog"])
    engine = service.engine()
    engine.init_vectorstore_table(name, 32, store_metadata=False)
    store = service.store_class().create_sync(engine, embeddings, name, metadata_json_column=None)
    write_context(store, embeddings)
    reader = ContextualRetriever(embeddings=embeddings, vectorstore=store)
    reader.add_documents(documents)
    done = refit_store(store, embeddings, tmp_path / "new", batch_size=20)
    assert done.documents == done.embedded == len(documents)
    with pytest.raises(ContextMismatchError, match="built under context"):
        reader.invoke("red cat")


def test_a_name_that_postgresql_would_cut_is_refused(service, guarded, tmp_path):
    name, embeddings = f"{service.name()}_and_much_more", guarded()
    store = service.open(embeddings, name)
    with pytest.raises(ConfigurationError, match="more than 43 bytes"):
        refit_store(store, embeddings, tmp_path / "new")
