"""PostgreSQL: a served name moves to another table by two renames in one transaction."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Collection as Ids
from typing import Any, Self

from cde_retrievers.binding.check import CONTEXT_KEY
from cde_retrievers.stores.collection import Collection, Id, Payload, Record, Vector

Statement = tuple[str, dict[str, Any]]
Run = Callable[[Sequence[Statement]], Sequence[Sequence[Any]]]
"""Runs statements with named parameters, as SQLAlchemy's `text`, in one transaction -> rows of the last one."""

_LONGEST_NAME = 43  # bytes, of PostgreSQL's 63: the old table's name is 20 longer
_IN_COMMENT = re.compile(rf"\n?{CONTEXT_KEY}=(\S+)")
_TABLE = "to_regclass(format('%I.%I', CAST(:schema AS text), CAST(:name AS text)))"
_COLUMNS = f"""SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
  WHERE attrelid = {_TABLE} AND attnum > 0 AND NOT attisdropped AND attgenerated = ''"""
# COMMENT and GRANT take no parameters, so these travel as settings of the transaction.
_SET = """SELECT set_config('cde.schema', :schema, true), set_config('cde.table', :name, true),
  set_config('cde.comment', :comment, true), set_config('cde.like', :like, true)"""
_COMMENT = """DO $$ BEGIN EXECUTE format('COMMENT ON TABLE %I.%I IS %L',
  current_setting('cde.schema'), current_setting('cde.table'), current_setting('cde.comment')); END $$"""
_GRANT = """DO $$ DECLARE found record; BEGIN
  FOR found IN SELECT (aclexplode(relacl)).* FROM pg_class
    WHERE oid = format('%I.%I', current_setting('cde.schema'), current_setting('cde.like'))\\:\\:regclass LOOP
    EXECUTE format('GRANT %s ON %I.%I TO %s', found.privilege_type,
      current_setting('cde.schema'), current_setting('cde.table'),
      CASE found.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(found.grantee)) END);
  END LOOP; END $$"""

# A sequence that numbers the rows belongs to the old table, and would go with it.
_PASS_ON_SEQUENCES = """DO $$ DECLARE found record; BEGIN
  FOR found IN SELECT objid\\:\\:regclass AS sequence, attname FROM pg_depend
    JOIN pg_class ON pg_class.oid = objid AND relkind = 'S'
    JOIN pg_attribute ON attrelid = refobjid AND attnum = refobjsubid
    WHERE deptype = 'a'
      AND refobjid = format('%I.%I', current_setting('cde.schema'), current_setting('cde.like'))\\:\\:regclass LOOP
    EXECUTE format('ALTER SEQUENCE %s OWNED BY %I.%I.%I', found.sequence,
      current_setting('cde.schema'), current_setting('cde.table'), found.attname);
  END LOOP; END $$"""
# Some programs look for an index by its name, and build another one if it is not there.
_RENAME_INDEXES = """DO $$ DECLARE found record; BEGIN
  FOR found IN SELECT relname, current_setting('cde.table') || substr(relname, length(current_setting('cde.like')) + 1)
      AS wanted FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
    WHERE indrelid = format('%I.%I', current_setting('cde.schema'), current_setting('cde.table'))\\:\\:regclass
      AND starts_with(relname, current_setting('cde.like')) LOOP
    IF octet_length(found.wanted) < 64
      AND to_regclass(format('%I.%I', current_setting('cde.schema'), found.wanted)) IS NULL THEN
      EXECUTE format('ALTER INDEX %I.%I RENAME TO %I', current_setting('cde.schema'), found.relname, found.wanted);
    END IF;
  END LOOP; END $$"""


class PostgresTable(Collection):
    """A table of documents. Its payloads are the other columns, in JSON.

    Args:
        run: runs statements.
        schema: schema of the table.
        name: name of the table.
        id_column: the column of the ids, which are unique.
        vector_column: the column of the vectors.
    """

    def __init__(self, run: Run, schema: str, name: str, id_column: str, vector_column: str) -> None:
        self.name = name
        self._run, self._schema = run, schema
        self._id, self._vector = id_column, vector_column

    def named(self, name: str) -> Self:
        """Return the table of another name in the same schema."""
        return type(self)(self._run, self._schema, name, self._id, self._vector)

    def exists(self) -> bool:
        """Return whether there is a table of this name."""
        return self._value(f"SELECT {_TABLE} IS NOT NULL") is True

    def stamp(self) -> str | None:
        """Return the stamp in the comment on the table, or None."""
        found = _IN_COMMENT.search(self._comment())
        return found.group(1) if found else None

    def write_stamp(self, stamp: str) -> None:
        """Add the stamp as a line of the comment, whose other text stays. Only the table's owner may comment."""
        self._run(self._commented(self._comment(), stamp, like=self.name))

    def count(self) -> int:
        """Return the number of rows."""
        return int(self._value(f"SELECT count(*) FROM {self._quoted}"))

    def pages(self, size: int) -> Iterator[list[Record]]:
        """Yield all rows, in the order of their ids."""
        after: Id | None = None
        while page := self._rows("" if after is None else f"> {self._cast('after')}", after=after, size=size):
            yield page
            after = page[-1].id

    def payloads(self, ids: Ids[Id]) -> dict[Id, Payload]:
        """Return the payloads of those of the ids that are there."""
        return {row.id: row.payload for row in self._rows(f"= ANY({self._cast('ids', '[]')})", ids=_texts(ids))}

    def vectors(self, ids: Ids[Id]) -> dict[Id, Vector]:
        """Return the vectors of those of the ids that are there and have one."""
        identity, vector = _quoted(self._id), _quoted(self._vector)
        statement = f"""SELECT CAST({identity} AS text), CAST({vector} AS text) FROM {self._quoted}
          WHERE {identity} = ANY({self._cast("ids", "[]")}) AND {vector} IS NOT NULL"""
        return {row[0]: json.loads(row[1]) for row in self._run([(statement, {"ids": _texts(ids)})])}

    def put(self, records: Sequence[Record], vectors: Sequence[Vector]) -> None:
        """Write rows, in one transaction."""
        columns = ", ".join(map(_quoted, self._columns()))
        rows = [
            {**record.payload, self._id: record.id, self._vector: json.dumps(list(vector))}
            for record, vector in zip(records, vectors, strict=True)
        ]
        insertion = f"""INSERT INTO {self._quoted} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns}
          FROM jsonb_populate_recordset(CAST(NULL AS {self._quoted}), CAST(CAST(:rows AS text) AS jsonb))"""
        self._run([self._deletion([record.id for record in records]), (insertion, {"rows": json.dumps(rows)})])

    def delete(self, ids: Ids[Id]) -> None:
        """Remove rows."""
        self._run([self._deletion(ids)])

    def create_like(self, other: Self, stamp: str) -> None:
        """Create the table with the columns, indexes, privileges and comment of the other one."""
        creation = f"CREATE TABLE {self._quoted} (LIKE {other._quoted} INCLUDING ALL)"
        self._run([(creation, {}), *self._commented(other._comment(), stamp, like=other.name), (_GRANT, {})])

    def drop(self) -> None:
        """Delete the table."""
        self._run([(f"DROP TABLE {self._quoted}", {})])

    def replace(self, replacement: Self, kept: Self) -> None:
        """Rename both tables and their indexes in one transaction, in which a sequence passes to the new table."""
        statements = [*self._renaming(kept), *replacement._renaming(self)]
        self._run([*statements, (_SET, self._settings(like=kept.name)), (_PASS_ON_SEQUENCES, {})])

    def unsupported_reason(self) -> str | None:
        """Return a reason for a name that PostgreSQL would cut once it is longer, and for ids that are not unique."""
        if len(self.name.encode()) > _LONGEST_NAME:
            return f"the old table needs a longer name, and this one has more than {_LONGEST_NAME} bytes; rename it"
        counted = f"SELECT count(*) - count(DISTINCT {_quoted(self._id)}) FROM {self._quoted}"
        doubled = self._value(counted) if self.exists() else 0
        return f"{doubled} of its rows have the {self._id} of another one; delete those rows" if doubled else None

    @property
    def _quoted(self) -> str:
        return f"{_quoted(self._schema)}.{_quoted(self.name)}"

    def _value(self, statement: str) -> Any:
        return self._run([(statement, self._names() if ":schema" in statement else {})])[0][0]

    def _names(self) -> dict[str, str]:
        return {"schema": self._schema, "name": self.name}

    def _comment(self) -> str:
        return self._value(f"SELECT obj_description({_TABLE}, 'pg_class')") or ""

    def _commented(self, comment: str, stamp: str, like: str) -> list[Statement]:
        kept, line = _IN_COMMENT.sub("", comment), f"{CONTEXT_KEY}={stamp}"
        return [(_SET, self._settings(f"{kept}\n{line}" if kept else line, like)), (_COMMENT, {})]

    def _renaming(self, other: Self) -> list[Statement]:
        renaming = f"ALTER TABLE {self._quoted} RENAME TO {_quoted(other.name)}"
        return [(renaming, {}), (_SET, other._settings(like=self.name)), (_RENAME_INDEXES, {})]

    def _settings(self, comment: str = "", like: str = "") -> dict[str, str]:
        return {**self._names(), "comment": comment, "like": like}

    def _columns(self) -> dict[str, str]:
        """Return the type of each column that is not computed from others."""
        return {row[0]: row[1] for row in self._run([(_COLUMNS, self._names())])}

    def _cast(self, parameter: str, suffix: str = "") -> str:
        """Return an expression of the ids' type for a parameter of text, so that an index is used."""
        return f"CAST(CAST(:{parameter} AS text{suffix}) AS {self._columns()[self._id]}{suffix})"

    def _rows(self, condition: str, **values: Any) -> list[Record]:
        identity, limit = _quoted(self._id), "LIMIT :size" if "size" in values else ""
        statement = f"""SELECT CAST({identity} AS text), CAST(to_jsonb(found) - CAST(:left_out AS text[]) AS text)
          FROM {self._quoted} AS found {f"WHERE found.{identity} {condition}" if condition else ""}
          ORDER BY found.{identity} {limit}"""
        used = {name: value for name, value in values.items() if value is not None}
        computed = {"left_out": [self._id, self._vector, *self._computed()]}
        return [Record(row[0], json.loads(row[1])) for row in self._run([(statement, {**used, **computed})])]

    def _computed(self) -> list[str]:
        statement = f"""SELECT attname FROM pg_attribute
          WHERE attrelid = {_TABLE} AND attnum > 0 AND NOT attisdropped AND attgenerated <> ''"""
        return [row[0] for row in self._run([(statement, self._names())])]

    def _deletion(self, ids: Ids[Id]) -> Statement:
        condition = f"{_quoted(self._id)} = ANY({self._cast('ids', '[]')})"
        return f"DELETE FROM {self._quoted} WHERE {condition}", {"ids": _texts(ids)}


def _quoted(name: str) -> str:
    """Return an identifier for a statement of SQLAlchemy's `text`."""
    return '"' + name.replace('"', '""').replace(":", r"\:") + '"'


def _texts(ids: Ids[Id]) -> list[str]:
    return [str(each) for each in ids]
