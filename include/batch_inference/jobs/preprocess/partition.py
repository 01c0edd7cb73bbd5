"""Divides the objects of a host among its processes; an object may be cut where a line ends."""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate, groupby
from typing import AbstractSet, Sequence

from batch_inference.jobs.config.preprocess_config import InputConfig
from batch_inference.jobs.preprocess.objects import InputObject, ObjectPart, find_part_ends


def cut_objects(objects: Sequence[ObjectPart], input_config: InputConfig, count: int) -> list[ObjectPart]:
    """Cut objects, each one part so far, where `partition_parts` would divide them into `count` partitions."""
    total = sum(one.text_bytes for one in objects)
    bounds = [total * number // count for number in range(1, count)]
    parts: list[ObjectPart] = []
    start = 0
    for one in objects:
        offsets = [bound - start for bound in bounds if start < bound < start + one.text_bytes]
        ends = find_part_ends(one.object, input_config, offsets) if offsets else []
        for begin, end in zip([0, *ends], [*ends, None]):
            text_bytes = (one.text_bytes if end is None else end) - begin
            parts.append(replace(one, begin=begin, end=end, text_bytes=text_bytes))
        start += one.text_bytes
    return parts


def undo_cuts(parts: Sequence[ObjectPart], uncuttable: AbstractSet[InputObject]) -> list[ObjectPart]:
    """Put the parts of some objects together again."""
    joined: list[ObjectPart] = []
    for one, group in groupby(parts, key=lambda part: part.object):
        of_object = list(group)
        if one in uncuttable:
            text_bytes = sum(part.text_bytes for part in of_object)
            of_object = [replace(of_object[0], end=None, text_bytes=text_bytes)]
        joined += of_object
    return joined


def partition_parts(parts: Sequence[ObjectPart], count: int) -> list[list[ObjectPart]]:
    """Divide parts, in their order, into at most `count` partitions of about equal bytes of text, at least one."""
    total = max(1, sum(part.text_bytes for part in parts))
    partitions: list[list[ObjectPart]] = [[] for _ in range(count)]
    for part, end in zip(parts, accumulate(part.text_bytes for part in parts)):
        middle = end - part.text_bytes / 2
        partitions[min(count - 1, int(middle * count / total))].append(part)
    return [partition for partition in partitions if partition] or [[]]
