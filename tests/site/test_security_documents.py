"""The threat model and the ASVS checklist name tests that exist and forget no requirement."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = {
    name: (ROOT / "docs" / name).read_text() for name in ("threat-model.md", "asvs.md")
}
NAMED = sorted(
    {
        (document, name)
        for document, text in DOCUMENTS.items()
        for name in re.findall(r"`(test_\w+)`", text)
    }
)
# OWASP ASVS 4.0.3: the requirements of levels 1 and 2 by section. What was deleted or is
# for level 3 alone is left out.
ASVS = {
    "1.1": "1-7",
    "1.2": "1-4",
    "1.4": "1,4,5",
    "1.5": "1-4",
    "1.6": "1-4",
    "1.7": "1,2",
    "1.8": "1,2",
    "1.9": "1,2",
    "1.10": "1",
    "1.11": "1,2",
    "1.12": "2",
    "1.14": "1-6",
    "2.1": "1-12",
    "2.2": "1-3",
    "2.3": "1-3",
    "2.4": "1-5",
    "2.5": "1-7",
    "2.6": "1-3",
    "2.7": "1-6",
    "2.8": "1-7",
    "2.9": "1-3",
    "2.10": "1-4",
    "3.1": "1",
    "3.2": "1-4",
    "3.3": "1-4",
    "3.4": "1-5",
    "3.5": "1-3",
    "3.7": "1",
    "4.1": "1,2,3,5",
    "4.2": "1,2",
    "4.3": "1-3",
    "5.1": "1-5",
    "5.2": "1-8",
    "5.3": "1-10",
    "5.4": "1-3",
    "5.5": "1-4",
    "6.1": "1-3",
    "6.2": "1-6",
    "6.3": "1,2",
    "6.4": "1,2",
    "7.1": "1-4",
    "7.2": "1,2",
    "7.3": "1,3,4",
    "7.4": "1-3",
    "8.1": "1-4",
    "8.2": "1-3",
    "8.3": "1-8",
    "9.1": "1-3",
    "9.2": "1-4",
    "10.2": "1,2",
    "10.3": "1-3",
    "11.1": "1-8",
    "12.1": "1-3",
    "12.2": "1",
    "12.3": "1-6",
    "12.4": "1,2",
    "12.5": "1,2",
    "12.6": "1",
    "13.1": "1,3,4,5",
    "13.2": "1,2,3,5,6",
    "13.3": "1,2",
    "13.4": "1,2",
    "14.1": "1-4",
    "14.2": "1-6",
    "14.3": "2,3",
    "14.4": "1-7",
    "14.5": "1-4",
}


@pytest.fixture(scope="module")
def tests() -> set[str]:
    return {
        node.name
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
    }


@pytest.mark.parametrize(("document", "name"), NAMED)
def test_named_test_exists(tests: set[str], document: str, name: str) -> None:
    assert name in tests, f"docs/{document} names a test that there is not"


def numbers(span: str) -> list[int]:
    first, _, last = span.partition("-")
    if last:
        return list(range(int(first), int(last) + 1))
    return [int(number) for number in span.split(",")]


def test_every_requirement_has_one_line_with_a_test_or_a_reason() -> None:
    rows = re.findall(
        r"^\| ([0-9., ]+) \| (.+) \|$", DOCUMENTS["asvs.md"], re.MULTILINE
    )
    found = [number for row, _ in rows for number in row.split(", ")]
    wanted = [f"{section}.{n}" for section, span in ASVS.items() for n in numbers(span)]

    assert sorted(found) == sorted(wanted)
    assert all(len(how) >= 3 for _, how in rows)


def test_every_attack_is_acted_out_or_says_why_not() -> None:
    rows = re.findall(
        r"^\| (?!-)(.+?) \| .+? \| (.+?) \| .*\|$",
        DOCUMENTS["threat-model.md"],
        re.MULTILINE,
    )
    attacks = [(attack, acted) for attack, acted in rows if attack != "attack"]

    assert len(attacks) > 50
    for attack, acted_out in attacks:
        assert "`test_" in acted_out or acted_out.startswith("not acted out"), attack
