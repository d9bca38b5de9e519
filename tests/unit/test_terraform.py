"""The Terraform files, without Terraform and without a cloud: they parse, stand in the style of
`terraform fmt`, name nothing that is not declared, and agree with the manifests. What Google makes of them,
no test here knows."""

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import hcl2
import pytest
import yaml

CONFIG = Path(__file__).parents[2] / "config"
FILES = sorted((CONFIG / "terraform").glob("*.tf"))
EXAMPLE = CONFIG / "terraform" / "terraform.tfvars.example"
STYLED = [*FILES, EXAMPLE]
REFERENCE = re.compile(r"\b(var\.\w+|local\.\w+|module\.\w+|data\.\w+\.\w+|(?:google|random)_\w+\.\w+)")
ATTRIBUTE = re.compile(r'( *)(?:[\w-]+|"[^"]+") *=(?!=) ')


def parse(path: Path) -> dict[str, Any]:
    options = hcl2.SerializationOptions(with_comments=False, strip_string_quotes=True, explicit_blocks=False)
    return dict(hcl2.loads(path.read_text(), serialization_options=options))


def blocks(kind: str) -> dict[str, dict[str, Any]]:
    """Bodies of the blocks of a kind, by their labels joined with dots."""
    found = {}
    for path in FILES:
        for block in parse(path).get(kind, []):
            for name, body in block.items():
                if kind == "resource":
                    found |= {f"{name}.{inner}": content for inner, content in body.items()}
                else:
                    found[name] = body
    return found


def code(path: Path) -> str:
    """A file without its comments."""
    return re.sub(r"(?m)^ *#.*$", "", path.read_text())


def test_every_file_parses() -> None:
    assert len(FILES) == 9
    for path in STYLED:
        assert parse(path), path.name


@pytest.mark.parametrize("path", STYLED, ids=lambda path: path.name)
def test_every_file_has_the_style_of_terraform_fmt(path: Path) -> None:
    text = path.read_text()
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    assert not re.search(r"\t|[ ]\n|\n\n\n", text)
    depth = 0
    for number, line in enumerate(text.splitlines(), 1):
        bare = re.sub(r'"(?:[^"\\]|\\.)*"', '""', line).split("#")[0].strip()
        depth -= bare.startswith(("}", "]", ")"))
        if line:
            assert len(line) - len(line.lstrip()) == 2 * depth, f"{path.name}:{number}: {line}"
        depth += bare.endswith(("{", "[", "("))
    assert depth == 0
    for (number, line), (_, following) in pairwise(enumerate(text.splitlines(), 1)):
        one, two = ATTRIBUTE.match(line), ATTRIBUTE.match(following)
        if (
            one
            and two
            and one[1] == two[1]
            and not line.endswith(("{", "[")) | following.endswith(("{", "["))
        ):
            assert line.index(" = ") == following.index(" = "), f"{path.name}:{number}: {following}"


def test_every_reference_is_declared() -> None:
    names = {key for path in FILES for part in parse(path).get("locals", []) for key in part}
    declared = {f"var.{name}" for name in blocks("variable")} | {f"local.{name}" for name in names}
    declared |= set(blocks("resource"))
    used = {reference for path in FILES for reference in REFERENCE.findall(code(path))}
    assert used - declared == set()
    assert {name for name in declared if name.startswith(("var.", "local."))} - used == set()


def test_every_variable_and_output_says_what_it_is() -> None:
    for name, body in (blocks("variable") | blocks("output")).items():
        assert len(body.get("description", "")) > 10, name
    for name, body in blocks("variable").items():
        assert "type" in body, name


def test_the_example_gives_every_variable_that_has_no_default() -> None:
    needed = {name for name, body in blocks("variable").items() if "default" not in body}
    assert needed == set(parse(EXAMPLE))


def test_no_output_shows_a_secret() -> None:
    shown = " ".join(str(body["value"]) for body in blocks("output").values())
    assert not re.search(r"password|secret|hmac|private_key", shown)


def test_terraform_and_manifests_agree() -> None:
    gke = yaml.safe_load((CONFIG / "kubernetes/gke/kustomization.yaml").read_text())
    account = blocks("resource")["google_service_account.pipelines"]["account_id"]
    assert f"{account}@PROJECT.iam.gserviceaccount.com" in gke["patches"][0]["patch"]
    quota = next(yaml.safe_load_all((CONFIG / "kubernetes/base/quota.yaml").read_text()))
    gpus = blocks("variable")["gpu_nodes"]["default"]
    assert quota["spec"]["hard"]["requests.nvidia.com/gpu"] == str(gpus)
    [identity] = [body["member"] for name, body in blocks("resource").items() if "iam_member.pods" in name]
    assert identity.endswith("[orthostat/default]")
