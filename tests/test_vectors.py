"""The test vectors: schema, regeneration, exact answers, allowed errors, coverage."""

from __future__ import annotations

import copy
import json
import math
import random
from fractions import Fraction
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import torch

from hopspec.formats import FLOAT64, FORMATS, Format
from hopspec.properties.decision import as_fraction
from hopspec.properties.faults import FAULTS
from hopspec.properties.models import standard_models
from hopspec.properties.vectors import recipes
from hopspec.properties.vectors.allowed import round_up
from hopspec.properties.vectors.answer import exactly
from hopspec.properties.vectors.classes import BUG_CLASSES, FAULTS_WITHOUT_VECTORS
from hopspec.properties.vectors.codec import digits_of, from_bits, pack, pack_one, to_bits, unpack
from hopspec.properties.vectors.command import documents
from hopspec.properties.vectors.coverage import cover
from hopspec.properties.vectors.generate import SEED, Selection, Suite, committed, generate
from hopspec.properties.vectors.recipe import QUANTITIES, RECIPES, Draw
from hopspec.properties.vectors.schema import load_schema
from hopspec.properties.vectors.vector import Vector

DATA = Path(__file__).resolve().parent.parent / "properties" / "vectors" / "data"
INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


@pytest.fixture(scope="module")
def suite() -> Suite:
    """The vectors that come with the package."""
    return committed()


def test_committed_vectors_are_those_generated() -> None:
    fresh = dict(documents(generate(SEED)))
    assert {p.name for p in DATA.iterdir()} == set(fresh)
    for name, text in fresh.items():
        same = (DATA / name).read_text(encoding="ascii") == text
        assert same, f"{name} is not what `hopspec vectors generate --out {DATA}` writes; look, then run it"


def test_another_seed_gives_other_numbers_in_the_same_constructions() -> None:
    chosen = Selection(("float32",), ("update",), ())
    first, second = generate(1, chosen), generate(1, chosen)
    other = generate(2, chosen)
    assert list(first.lines()) == list(second.lines())
    assert [v.id for v in first.vectors] == [v.id for v in other.vectors]
    differ = sum(
        a.record["memory"] != b.record["memory"] for a, b in zip(first.vectors, other.vectors, strict=True)
    )
    assert differ > 0.8 * len(first.vectors)


@pytest.mark.parametrize("name", ["vectors", "answers"])
def test_schemas_are_closed(name: str) -> None:
    schema = load_schema(name)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"

    def closed(part: Any) -> None:
        if isinstance(part, dict):
            if "properties" in part and "type" in part:
                assert part.get("additionalProperties") is False, part
            for inner in part.values():
                closed(inner)
        elif isinstance(part, list):
            for inner in part:
                closed(inner)

    closed(schema)


def test_schemas_know_the_vocabulary() -> None:
    definitions = load_schema("vectors")["$defs"]
    shared = load_schema("answers")["$defs"]
    assert all(definitions[name] == part for name, part in shared.items() if name != "answer")
    assert tuple(definitions["bug_class"]["enum"]) == tuple(BUG_CLASSES)
    assert set(definitions["format"]["enum"]) == set(FORMATS)
    assert tuple(definitions["quantity"]["enum"]) == QUANTITIES
    assert tuple(definitions["need"]["enum"]) == Selection().needs


@pytest.mark.parametrize("path", sorted(DATA.iterdir()), ids=lambda p: p.stem)
def test_files_follow_the_schema(path: Path) -> None:
    document = json.loads(path.read_text(encoding="ascii"))
    jsonschema.Draft202012Validator(load_schema("vectors")).validate(document)
    assert document["bug_classes"] == {name: of.what for name, of in BUG_CLASSES.items()}
    assert document["header"]["count"] == len(document["vectors"])


@pytest.mark.parametrize(
    "spoil",
    [
        lambda v: v.update(extra=1),
        lambda v: v.pop("expected"),
        lambda v: v.update(query=v["query"][1:]),
        lambda v: v.update(expected=v["expected"].upper() + "G"),
        lambda v: v.update(clauses=[]),
        lambda v: v.update(comment='a "quote"'),
        lambda v: v["allowed"]["any-float32"].update(more="x"),
    ],
)
def test_schema_refuses(spoil: Any, suite: Suite) -> None:
    record = copy.deepcopy(next(v.record for v in suite.vectors if v.id == "float32/update/one"))
    schema = load_schema("vectors")
    validator = jsonschema.Draft202012Validator({"$defs": schema["$defs"], "$ref": "#/$defs/vector"})
    assert validator.is_valid(record)
    spoil(record)
    assert not validator.is_valid(record)


def test_lines_can_be_scanned_without_a_json_parser(suite: Suite) -> None:
    names = (
        "id",
        "quantity",
        "format",
        "result_format",
        "queries",
        "memories",
        "width",
        "value_width",
        "beta",
    )
    assert len({v.id for v in suite.vectors}) == len(suite.vectors)
    for line in suite.lines():
        assert line.isascii()
        assert "\\" not in line
        assert len(line) < 2**14
    for vector in suite.vectors:
        present = [n for n in ("values", "keep") if n in vector.record]
        for name in (*names, "query", "memory", "expected", *present):
            assert vector.line.count(f'"{name}":') == 1
        assert json.loads(vector.line) == vector.record


@pytest.mark.parametrize("fmt", FORMATS.values(), ids=FORMATS)
def test_bit_patterns_are_those_of_pytorch(fmt: Format) -> None:
    dtype, digits = getattr(torch, fmt.name), digits_of(fmt)
    bits = 4 * digits
    rng = random.Random(7)
    patterns = range(1 << bits) if bits <= 8 else [rng.getrandbits(bits) for _ in range(2000)]
    edges = [(1 << k) - 1 for k in range(bits + 1)] + [1 << k for k in range(bits)]
    for pattern in {*patterns, *edges}:
        signed = pattern - (1 << bits) if bits > 8 and pattern >> (bits - 1) else pattern
        theirs = float(torch.tensor(signed, dtype=INTEGERS[bits // 8]).view(dtype).double())
        ours = from_bits(pattern, fmt)
        assert ours == theirs or (math.isnan(ours) and math.isnan(theirs))
        if not math.isnan(ours):
            assert to_bits(ours, fmt) == pattern


def test_numbers_outside_a_format_have_no_pattern() -> None:
    for x, name in (
        (0.1, "float32"),
        (65536.0, "float16"),
        (464.0, "float8_e4m3fn"),
        (math.inf, "float8_e4m3fn"),
    ):
        with pytest.raises(ValueError, match=name):
            to_bits(x, FORMATS[name])
    # The shortcut for float64 gives the same patterns.
    odd = [0.0, -0.0, 1.5, -5e-324, math.inf, -math.inf, math.nan, -math.nan, 2.0**-1030]
    assert pack(odd) == "".join(pack_one(x) for x in odd)
    assert pack(unpack(pack(odd))) == pack(odd)
    for text in ("3f80000", "3f80000g"):
        with pytest.raises(ValueError, match="digits"):
            unpack(text, FORMATS["float32"])


def test_inputs_are_elements_of_their_format_and_shapes_fit(suite: Suite) -> None:
    for vector in suite.vectors:
        p = vector.problem
        assert vector.format.name in p.formats or "float8" in vector.format.name
        assert vector.expected.size == math.prod(vector.shape)
        assert all(part.size == vector.expected.size for part in vector.enclosure)
        assert set(vector.models) == {m.name for m in standard_models(vector.format.name)}


def test_enclosures_hold_the_exact_answer(suite: Suite) -> None:
    drawn = random.Random(3).sample(suite.vectors, 150)
    for vector in drawn:
        leaves = exactly(vector.problem, vector.quantity, 400)
        for hi, lo, radius, leaf in zip(*(part.tolist() for part in vector.enclosure), leaves, strict=True):
            if not math.isfinite(hi):
                assert radius == 0
                continue
            away = abs(Fraction(hi) + Fraction(lo) - as_fraction(leaf.value))
            assert away - as_fraction(leaf.radius) <= Fraction(radius), vector.id
            assert radius <= max(2.0**-105 * abs(hi), 2.0**-1074), vector.id


def test_the_exact_answer_rounded_once_is_always_allowed(suite: Suite) -> None:
    for vector in suite.vectors:
        hi, lo, radius = vector.enclosure
        finite = np.isfinite(vector.expected)
        assert np.array_equal(finite, np.isfinite(hi)) or vector.bug_class == "energy-overflow"
        error = np.abs(vector.expected[finite] - hi[finite] - lo[finite])
        for name in vector.models:
            allowed = vector.allowed(name)
            assert np.isfinite(allowed).all(), (vector.id, name)
            assert (allowed[~finite] == 0).all()
            assert (error <= allowed[finite] * (1 + 2.0**-40) + radius[finite]).all(), (vector.id, name)


def test_models_are_ordered_by_what_they_allow_at_the_median(suite: Suite) -> None:
    for fmt in ("float32", "bfloat16"):
        sizes = []
        for model in (standard_models(fmt)[0].name, standard_models(fmt)[-1].name):
            every = [v.allowed(model).max(initial=0) for v in suite.vectors if v.format.name == fmt]
            sizes.append(float(np.median(every)))
        assert 0 < sizes[0] < sizes[1]


def test_rounding_up_keeps_sixteen_bits() -> None:
    x = np.abs(np.random.default_rng(5).standard_normal(1000)) * 10.0 ** np.arange(-300, 300, 0.6)
    x = np.concatenate([x, [0.0, 5e-324, 2.0**-1060 * 1.1, math.inf]])
    up = round_up(x)
    assert (up >= x).all()
    assert (up[:-4] <= x[:-4] * (1 + 2.0**-14)).all()
    assert all(to_bits(float(u), FLOAT64) % (1 << 30) == 0 for u in up[:1000] if u > 2.0**-1000)


def test_every_clause_and_class_is_covered_in_every_format(suite: Suite) -> None:
    found = cover(suite)
    assert found.gaps == []
    assert min(found.quantities.values()) >= 25
    for name in BUG_CLASSES:
        assert any(found.bug_classes[name, fmt] for fmt in FORMATS)
    # A hole is reported.
    fewer = Suite(SEED, suite.selection, tuple(v for v in suite.vectors if v.bug_class != "duplicates"))
    assert any("duplicates" in gap for gap in cover(fewer).gaps)


def test_every_fault_has_a_class_or_a_reason() -> None:
    placed = {fault for of in BUG_CLASSES.values() for fault in of.faults}
    settling = {name for name, fault in FAULTS.items() if fault.kind == "fixed-point"}
    assert placed | set(FAULTS_WITHOUT_VECTORS) | settling == set(FAULTS)
    assert not placed & (set(FAULTS_WITHOUT_VECTORS) | settling)


def test_every_recipe_makes_a_vector(suite: Suite) -> None:
    assert recipes.__all__
    for recipe in RECIPES.values():
        assert any(v.id == f"float32/{q}/{recipe.name}" for q in recipe.quantities for v in suite.vectors), (
            recipe
        )


def test_a_draw_depends_on_seed_and_name_alone() -> None:
    first = Draw(0, "name", FORMATS["float32"]).uniform(2, 3)
    assert first.tolist() == Draw(0, "name", FORMATS["bfloat16"]).uniform(2, 3).tolist()
    assert first.tolist() != Draw(1, "name", FORMATS["float32"]).uniform(2, 3).tolist()
    # A stream that Python guarantees; were it to change, every committed vector would.
    assert first[0, 0] == 0.8936801572943985


def test_vectors_read_back(suite: Suite) -> None:
    again = Suite.from_document(json.loads(suite.document()))
    assert again.digest == suite.digest
    assert again.header == suite.header
    one = Vector(json.loads(suite.vectors[0].line))
    assert one.problem.query.tolist() == suite.vectors[0].problem.query.tolist()
