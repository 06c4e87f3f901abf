"""Property tests meet the same examples on every push, and other ones once a week."""

import subprocess
import sys

import yaml


def test_a_workflow_runs_them_every_week(root):
    path = root / ".github" / "workflows" / "weekly.yml"
    workflow = yaml.load(path.read_text(), yaml.BaseLoader)  # "on" stays a word
    (rule,) = workflow["on"]["schedule"]
    assert rule["cron"].split()[-1].isdigit(), "one day of the week"
    commands = [step.get("run", "") for job in workflow["jobs"].values() for step in job["steps"]]
    assert any("-m hypothesis --hypothesis-profile=random" in command for command in commands)


def test_the_profile_is_random_and_the_usual_one_is_not(root, tmp_path):
    code = (
        "import sys; sys.path.insert(0, 'tests'); import conftest; from hypothesis import settings;"
        "print(settings().derandomize, settings.get_profile('random').derandomize)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]
