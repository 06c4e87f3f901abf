"""One source of dependencies: what else names them says the same."""

import re
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ON_DEMAND = {"cuda"}  # of no use without a device, so nothing installs it unasked


@pytest.fixture(scope="module")
def project(root):
    return tomllib.loads((root / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def pins(root):
    lines = (root / "constraints.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    assert all(len(pair) == 2 for pair in pairs)
    return {canonicalize_name(name): version for name, version in pairs}


def declared(project):
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    return [Requirement(line) for group in groups for line in group]


def test_every_dependency_is_pinned_to_a_version_that_it_allows(project, pins):
    for requirement in declared(project):
        name = canonicalize_name(requirement.name)
        assert name in pins, f"{name} is not in constraints.txt"
        assert requirement.specifier.contains(pins[name]), f"{requirement} is pinned to {pins[name]}"


def test_pins_are_plain_versions_in_order_without_twins(root, pins):
    lines = [line for line in (root / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert len(lines) == len(pins)
    assert not any("+" in version for version in pins.values()), "a local build is on no package index"
    names = [canonicalize_name(line.split("==")[0]) for line in lines]
    assert names == sorted(names)


def test_the_conda_environment_installs_the_same(root, project):
    environment = yaml.safe_load((root / "environment.yml").read_text())
    python = next(item for item in environment["dependencies"] if isinstance(item, str) and item.startswith("python"))
    assert python == f"python{project['requires-python']}"
    pip = next(item for item in environment["dependencies"] if isinstance(item, dict))["pip"]
    assert "--constraint constraints.txt" in pip
    extras = re.search(r"--editable \.\[(.*)\]", "\n".join(pip))[1].split(",")
    assert {*extras, *ON_DEMAND} == set(project["optional-dependencies"])
    named = {line.split(" ")[0] for line in pip if not line.startswith("--")}
    assert named == {"spcdist"}, "what pip can find belongs into pyproject.toml"


def test_make_installs_the_same(root, project):
    makefile = (root / "Makefile").read_text()
    extras = re.search(r"-e '\.\[(.*)\]'", makefile)[1].split(",")
    assert {*extras, *ON_DEMAND} == set(project["optional-dependencies"])
    assert "-c constraints.txt" in makefile


def test_every_target_of_make_is_explained(root):
    makefile = (root / "Makefile").read_text()
    targets = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[1].split()
    assert set(targets) == set(re.findall(r"^([a-z]+):.*## \w", makefile, re.MULTILINE))


def test_the_readme_sets_up_with_two_commands(root):
    blocks = re.findall(r"```(?:bash|console|sh)\n(.*?)```", (root / "README.md").read_text(), re.DOTALL)
    commands = [line.split("#")[0].strip() for line in blocks[0].splitlines() if line.strip()]
    assert commands == ["make book", "make test"]


def test_the_citation_names_the_version(root):
    import audioattn_lib

    citation = yaml.safe_load((root / "CITATION.cff").read_text())
    assert citation["version"] == audioattn_lib.__version__
