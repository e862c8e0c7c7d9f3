"""The benchmark's cases as others read them: CSV, and Croissant (mlcommons.org/croissant/1.0), a JSON-LD that data
set searches understand. One table of columns makes both.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from interpbench.cases.case import Case
from interpbench.catalogue.facts import facts_of
from interpbench.catalogue.suites import suites_of
from interpbench.subjects.zoo import is_certified
from interpbench.table import csv_text

CSV_FILE, CROISSANT_FILE = "cases.csv", "croissant.json"
DESCRIPTION = (
    "Algorithmic tasks for transformers, each with a program or a causal model that solves it, the shape of a "
    "transformer that learns it, and the true circuit of that transformer: for judging circuit-discovery techniques."
)


@dataclass(frozen=True)
class Column:
    """A column: its name, schema.org type, what it says, and its value for a case."""

    name: str
    kind: str
    description: str
    value: Callable[[Case], Any]


COLUMNS = (
    Column("name", "sc:Text", "Name of the case.", lambda case: case.name),
    Column("description", "sc:Text", "What the program computes.", lambda case: case.description),
    Column("output", "sc:Text", "Whether answers are classes or numbers.", lambda case: case.output),
    Column("vocab", "sc:Text", "Tokens of an input, a JSON list.", lambda case: json.dumps(case.vocab)),
    Column("min_length", "sc:Integer", "Tokens of the shortest input, without BOS.", lambda case: case.min_length),
    Column("max_length", "sc:Integer", "Tokens of the longest input, without BOS.", lambda case: case.max_length),
    Column("scored", "sc:Text", "Positions with an answer: all, or the last.", lambda case: case.scored),
    Column("compiled", "sc:Boolean", "Whether the reference is a compiled program.", lambda case: case.compiled),
    Column("suites", "sc:Text", "Suites that hold the case, a JSON list.", lambda case: json.dumps(suites_of(case))),
    Column("certified", "sc:Boolean", "Whether the bundled subject is certified.", is_certified),
    *(
        Column(name, "sc:Integer", f"{what} of a subject.", lambda case, name=name: facts_of(case)["shape"][name])
        for name, what in (("n_layers", "Layers"), ("n_heads", "Heads a layer"), ("d_model", "Width"))
    ),
    Column("circuit_size", "sc:Integer", "Edges of the true circuit.", lambda case: facts_of(case)["edges"]),
    Column("circuit", "sc:Text", "The true circuit, a JSON list of edges.", lambda case: json.dumps(_edges(case))),
    Column("program_digest", "sc:Text", "Hash of what is computed.", lambda case: facts_of(case)["program_digest"]),
)


def _edges(case: Case) -> list[str]:
    return facts_of(case)["true"]


def cases_csv(cases: Iterable[Case]) -> str:
    """A line a case, with a header."""
    return csv_text([column.name for column in COLUMNS], ([column.value(case) for column in COLUMNS] for case in cases))


def croissant(cases: Iterable[Case]) -> dict[str, Any]:
    """The JSON-LD of the data set whose one file is `cases_csv(cases)`, beside it as `CSV_FILE`."""
    content = cases_csv(cases).encode()
    file = {
        "@type": "cr:FileObject",
        "@id": CSV_FILE,
        "name": CSV_FILE,
        "contentUrl": CSV_FILE,
        "contentSize": f"{len(content)} B",
        "encodingFormat": "text/csv",
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": "interpbench",
        "description": DESCRIPTION,
        "version": metadata.version("interpbench"),
        "license": "https://opensource.org/license/mit",
        "citeAs": "Gupta et al. 2024, InterpBench, arXiv 2407.14494",
        "keywords": ["mechanistic interpretability", "circuit discovery", "transformers", "benchmark"],
        "distribution": [file],
        "recordSet": [{"@type": "cr:RecordSet", "@id": "cases", "name": "cases", "field": _fields()}],
    }


def _fields() -> list[Mapping[str, Any]]:
    return [
        {
            "@type": "cr:Field",
            "@id": f"cases/{column.name}",
            "name": column.name,
            "description": column.description,
            "dataType": column.kind,
            "source": {"fileObject": {"@id": CSV_FILE}, "extract": {"column": column.name}},
        }
        for column in COLUMNS
    ]


_CONTEXT: Mapping[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    **{
        term: f"cr:{term}"
        for term in (
            *("arrayShape", "citeAs", "column", "equivalentProperty", "extract", "field", "fileProperty", "fileObject"),
            *("fileSet", "format", "includes", "isArray", "isLiveDataset", "jsonPath", "key", "md5", "parentField"),
            *("path", "recordSet", "references", "regex", "repeated", "replace", "samplingRate", "separator"),
            *("source", "subField", "transform"),
        )
    },
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
}
