"""What the documents quote is there: commands, folders, links, versions, messages of `run-is-red.md`."""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from orthostat.cli.main import build_parser

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
RED = (ROOT / "docs/run-is-red.md").read_text()


def code_lines(text: str) -> Iterator[str]:
    """The lines of its indented blocks, those that go on in the next one joined."""
    joined = re.sub(r"\\\n\s*", "", text)
    yield from (line.strip() for line in joined.splitlines() if line.startswith("    "))


def commands(text: str) -> Iterator[list[str]]:
    """The arguments of every `orthostat` that the document types."""
    start = r"(?:^|-- |\$\(|&& |; |\| )(?:\w+=\S+ )*(?:\.venv/bin/)?"
    for line in code_lines(text):
        for typed in re.findall(start + r"orthostat ([a-z][^#>|;&)]*)", line):
            yield shlex.split(typed)


TYPED = [(path.name, arguments) for path in DOCUMENTS for arguments in commands(path.read_text())]


@pytest.mark.parametrize(("document", "arguments"), TYPED, ids=[" ".join(typed) for _, typed in TYPED])
def test_every_command_can_be_typed(document: str, arguments: list[str]) -> None:
    build_parser().parse_args(arguments)  # leaves with what is wrong on stderr


def test_commands_are_found() -> None:
    assert len(TYPED) > 15
    assert ["pipelines", "check", "--cluster"] in [arguments for _, arguments in TYPED]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_folder_of_manifests_can_be_applied(document: Path) -> None:
    text = document.read_text()
    made = set(re.findall(r"cat > (\S+)/kustomization.yaml", text))
    for folder in re.findall(r"kubectl (?:apply|diff)[^;`\n]* -k ([\w/-]+)", text):
        assert folder in made or (ROOT / folder / "kustomization.yaml").is_file(), folder


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_file_that_is_typed_is_there(document: Path) -> None:
    text = "\n".join(code_lines(document.read_text()))
    made = {"config/terraform/terraform.tfvars", "config/pipelines/mine.yaml"}
    found = set(re.findall(r"(?<![\w$}/])(?:\.\./\.\./)?((?:config|images)/[\w./-]+)", text)) - made
    assert [name for name in found if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text()):
        assert (document.parent / target).exists(), target


def messages_of(folder: Path) -> Iterator[str]:
    """Every string of the source but the docstrings; what is put into one is a NUL."""
    for path in sorted(folder.rglob("*.py")):
        nodes = list(ast.walk(ast.parse(path.read_text())))
        docstrings = {node.value for node in nodes if isinstance(node, ast.Expr)}
        for node in nodes:
            if isinstance(node, ast.JoinedStr):
                parts = [part.value if isinstance(part, ast.Constant) else "\0" for part in node.values]
                yield "".join(map(str, parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in docstrings:
                yield node.value


SAID = list(messages_of(ROOT / "plugins"))
MESSAGES = [
    message
    for row in re.findall(r"^\| (`.*?) \|", RED, re.MULTILINE)
    for message in re.findall(r"`([^`]+)`", row)
    if message != "0/3 nodes are available"  # Kubernetes says it
]


@pytest.mark.parametrize("message", MESSAGES)
def test_every_message_is_one_of_ours(message: str) -> None:
    """Word for word between the dots, but for the step that says it."""
    words = re.sub(r"^(?:\w+|\.\.\.)(?: failed)?: ", "", message)
    parts = (re.escape(part.strip(" ':();")) for part in words.split("..."))
    assert any(re.search(".*".join(parts), said, re.DOTALL) for said in SAID)


def test_images_are_installed_by_the_uv_that_locks() -> None:
    [locks] = re.findall(r"^UV_VERSION := (\S+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert re.findall(r"\buv==(\S+)", (ROOT / "images/Dockerfile").read_text()) == [locks]
