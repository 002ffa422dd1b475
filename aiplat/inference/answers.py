"""Answers to many rows as Arrow tables: a column an output, and what kept a row from an answer."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from aiplat.datasets.versions import DatasetInfo
from aiplat.errors import DataError
from aiplat.inference.predictor import Predictor
from aiplat.tasks.fields import OutputField
from aiplat.tasks.rows import rows_of
from aiplat.tasks.task import Batch
from aiplat.training.prefetch import Prefetch

ERROR = "error"
MODEL = "model"


def answer_schema(
    key: "pa.Field[Any]", outputs: Sequence[OutputField], info: DatasetInfo
) -> pa.Schema:
    """The columns of the answers. key: the column that says which row an answer is to.

    Probabilities are a struct with a number a label, as in the endpoint's answers. Without an
    answer all outputs are null and `error` says why.
    """
    probabilities = pa.struct([(label, pa.float32()) for label in info.labels])
    types = {
        "label": pa.string(),
        "text": pa.string(),
        "number": pa.float64(),
        "vector": pa.list_(pa.float32()),
        "probabilities": probabilities,
    }
    fields = [pa.field(output.name, types[output.kind]) for output in outputs]
    return pa.schema([key, *fields, pa.field(MODEL, pa.string()), pa.field(ERROR, pa.string())])


@dataclass(frozen=True)
class Answering:
    """Answers tables of rows. model: the version's id, written beside each answer."""

    predictor: Predictor
    schema: pa.Schema
    model: str

    def answer(self, tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
        """The answers to each table, a batch of the model; the next is encoded meanwhile.

        A table holds the key, the inputs, and where its reader found faults `error` with them.
        """
        with Prefetch(self._encode, tables) as encoded:
            for table, batch, errors in encoded:
                answers = iter(self.predictor.predict(batch) if batch else [])
                rows = [{} if error else next(answers) for error in errors]
                yield self._table(table, rows, errors)

    def _encode(self, table: pa.Table) -> tuple[pa.Table, Batch, list[str | None]]:
        """The batch of the rows that can be encoded, and for each row why it cannot."""
        errors: list[str | None] = [None] * table.num_rows
        if ERROR in table.column_names:
            errors = table.column(ERROR).to_pylist()
        try:
            return table, self._batch(table, errors), errors
        except DataError:
            errors = [error or self._fault(table.slice(row, 1)) for row, error in enumerate(errors)]
            return table, self._batch(table, errors), errors

    def _batch(self, table: pa.Table, errors: Sequence[str | None]) -> Batch:
        good = [row for row, error in enumerate(errors) if error is None]
        inputs = [item.name for item in self.predictor.task_inputs]
        return self.predictor.task.encode(rows_of(table.select(inputs).take(good))) if good else {}

    def _fault(self, row: pa.Table) -> str | None:
        """Why a row cannot be encoded by itself."""
        try:
            self._batch(row, [None])
        except DataError as error:
            # Its place in a table of one row tells nobody anything.
            return str(error).replace(", row 0", "")
        return None

    def _table(
        self, table: pa.Table, rows: Sequence[Mapping[str, Any]], errors: Sequence[str | None]
    ) -> pa.Table:
        columns: dict[str, Any] = {
            name: [row.get(name) for row in rows] for name in self.schema.names
        }
        key = self.schema.names[0]
        columns[key] = table.column(key).to_pylist()
        columns[MODEL] = [self.model] * len(rows)
        columns[ERROR] = errors
        return pa.Table.from_pydict(columns, schema=self.schema)
