"""The `dataset.json` of several shards as one."""

from collections.abc import Sequence
from typing import Any

from dnnlib.errors import UserError
from dnnlib.remarks import remark

# Entries that agree in the records of all shards.
SAME = ("tool", "format_version", "resolution", "channels", "filter", "crop")


def joined_metadata(
    where: str, bases: Sequence[str], parts: Sequence[dict[str, Any]], counts: Sequence[int]
) -> dict[str, Any]:
    """Return the labels of all shards' images, and the record of dataset_tool.py about all of them.

    Args:
        where: name of the data set, for errors.
        bases: what the names in each shard begin with, among those of all.
        parts: content of each shard's `dataset.json`; {} where there is none.
        counts: number of images in each.

    Raises UserError for shards whose labels are no list.
    """
    labels: list[Any] = []
    for base, part in zip(bases, parts, strict=True):
        own = part.get("labels") or []
        if not isinstance(own, list):
            raise UserError(f'"labels" of {base}dataset.json is not a list of pairs; write [["00/img.png", 3], ...]')
        labels += [_qualified(base, pair) for pair in own]
    records = [part.get("source") for part in parts]
    joined = _joined_record(where, [record for record in records if isinstance(record, dict)], counts)
    return {"labels": labels or None, **({} if joined is None else {"source": joined})}


def _qualified(base: str, pair: Any) -> Any:
    """Return a pair of name and label with the name among those of all shards; anything else as it is."""
    if isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str):
        return [base + pair[0], pair[1]]
    return pair


def _joined_record(where: str, records: Sequence[dict[str, Any]], counts: Sequence[int]) -> dict[str, Any] | None:
    """Return the record of all shards; None where one has none, or they are not of one kind."""
    if len(records) < len(counts):
        return None
    first = {name: records[0].get(name) for name in SAME}
    if any({name: record.get(name) for name in SAME} != first for record in records):
        return None
    if [record.get("num_images") for record in records] != list(counts):
        return None
    made = records[0].get("shards")
    if isinstance(made, int) and made != len(records):
        remark(f"{where} names {len(records)} of the {made} shards that were made together")
    return {**first, "num_images": sum(counts)}
