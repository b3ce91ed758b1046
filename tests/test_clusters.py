"""The recipes of docs/clusters.md: shell that parses, manifests with the fields that they need, commands that exist."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from latentmap.cli.app import app

PAGE = (Path(__file__).parents[1] / "docs" / "clusters.md").read_text(encoding="utf-8")


def blocks(language):
    found = re.findall(rf"```{language}\n(.*?)```", PAGE, re.S)
    assert found
    return found


def parses(script):
    return subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True).returncode == 0


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_the_script_of_slurm_is_one_of_bash():
    (script,) = blocks("bash")
    assert script.startswith("#!/bin/bash\n#SBATCH ") and parses(script)
    assert not parses(script.replace("$(scontrol", "$((scontrol"))  # the control
    inner = re.search(r"bash -c '(.*?)'", script, re.S)[1]
    assert parses(inner) and {"RANK=", "WORLD_SIZE=", "LOCAL_RANK="} <= set(re.findall(r"[A-Z_]+=", inner))
    nodes, gpus = (re.search(rf"#SBATCH --{name}=(\d+)", script)[1] for name in ("nodes", "gpus-per-node"))
    assert f"--nnodes={nodes} --nproc-per-node={gpus}" in script and f"--ntasks-per-node={gpus} " in script


def test_the_manifests_have_their_fields():
    yaml = pytest.importorskip("yaml")
    (text,) = blocks("yaml")
    training, embedding = yaml.safe_load_all(text)
    assert (training["apiVersion"], training["kind"]) == ("kubeflow.org/v1", "PyTorchJob")
    spec = training["spec"]
    assert isinstance(spec["nprocPerNode"], str) and set(spec["pytorchReplicaSpecs"]) == {"Worker"}
    worker = spec["pytorchReplicaSpecs"]["Worker"]
    assert spec["elasticPolicy"]["rdzvBackend"] == "c10d"
    assert spec["elasticPolicy"]["minReplicas"] == spec["elasticPolicy"]["maxReplicas"] == worker["replicas"]
    assert (embedding["apiVersion"], embedding["kind"]) == ("batch/v1", "Job")
    job = embedding["spec"]
    assert job["completionMode"] == "Indexed" and job["completions"] == job["parallelism"]
    (pod,) = job["template"]["spec"]["containers"]
    assert {"name": "WORLD_SIZE", "value": str(job["completions"])} in pod["env"]
    assert any(one["name"] == "RANK" and "job-completion-index" in str(one["valueFrom"]) for one in pod["env"])
    (trainer,) = worker["template"]["spec"]["containers"]
    assert trainer["name"] == "pytorch"  # the operator takes no other
    assert trainer["resources"]["limits"]["nvidia.com/gpu"] == int(spec["nprocPerNode"])
    for container, template in ((pod, job["template"]), (trainer, worker["template"])):
        assert all(isinstance(word, str) for word in container["command"])
        volumes = {volume["name"] for volume in template["spec"]["volumes"]}
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes


def test_the_commands_parse():
    lines = re.findall(r"-m latentmap (\w+ [^#`\n]*?)(?: {2,}#.*|'|)\n", PAGE)
    lines += [" ".join(command.replace('"', "").split(", ")) for command in re.findall(r"latentmap, (.*)\]\n", PAGE)]
    assert len(lines) > 5
    for line in lines:
        app.parse_args(shlex.split(line), exit_on_error=False, print_error=False)
