"""The files for SLURM on a real SLURM: one node that is this machine, run by this test.

Needs root and the programs of Debian's slurm-wlm and munge; nothing is installed or configured here.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import zarr

from dask_gmm import GaussianMixture, from_zarr

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        os.geteuid() != 0 or not all(map(shutil.which, ("slurmctld", "slurmd", "munged"))),
        reason="needs root, slurm-wlm and munge",
    ),
]

DEPLOY = Path(__file__).parents[2] / "deploy" / "slurm"
N_ITER = 60

_CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={daemon}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
AccountingStorageType=accounting_storage/none
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
NodeName={host} NodeAddr=127.0.0.1 CPUs=8 RealMemory=8000
PartitionName=debug Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., str]]:
    """Run a command of SLURM: ``slurm("squeue", ...)`` returns what it prints."""
    folder = tmp_path_factory.mktemp("slurm")
    for name in ("state", "spool"):
        (folder / name).mkdir()
    host = socket.gethostname().split(".")[0]
    configuration = folder / "slurm.conf"
    configuration.write_text(
        _CONFIGURATION.format(host=host, folder=folder, controller=_free_port(), daemon=_free_port())
    )
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "SLURM_CONF": str(configuration), "PATH": path}

    def run(*command: object, **more: str) -> str:
        ended = subprocess.run(
            list(map(str, command)),
            env={**environment, **more},
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    run.folder, run.environment = folder, environment  # type: ignore[attr-defined]
    munge_files = [
        f"--{name}={folder}/munge.{name}" for name in ("socket", "pid-file", "log-file", "seed-file")
    ]
    daemons = [
        ["munged", "--foreground", "--force", f"--key-file={key}", *munge_files],
        ["slurmctld", "-D", "-c"],
        ["slurmd", "-D", "-c"],
    ]
    started = []
    try:
        for daemon in daemons:
            quiet = subprocess.DEVNULL
            started.append(subprocess.Popen(daemon, env=environment, stdout=quiet, stderr=quiet))
            time.sleep(1)
        _until(lambda: "idle" in run("sinfo", "--noheader", "--format=%T"), 60)
        yield run
    finally:
        with suppress(TimeoutError, AssertionError):
            run("scancel", "--user=root")
            _until(lambda: not run("squeue", "--noheader"), 60)
        for process in reversed(started):
            process.terminate()
            process.wait(30)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if condition():
                return
        except AssertionError:  # the controller is not there yet
            pass
        time.sleep(0.5)
    raise TimeoutError("it did not happen")


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory, make_rows: Any) -> Path:
    path = tmp_path_factory.mktemp("stored") / "x.zarr"
    rows = make_rows(400_000, 4, 6, spread=1.5)
    zarr.create_array(path, shape=rows.shape, chunks=(50_000, 4), dtype="f8")[:] = rows
    return path


@pytest.fixture(scope="module")
def expected(stored: Path) -> GaussianMixture:
    gm = GaussianMixture(6, tol=0, max_iter=N_ITER, random_state=0)
    with pytest.warns(UserWarning, match="did not converge"):
        return gm.fit(from_zarr(stored))


@pytest.mark.parametrize(
    "interruption",
    [
        ("scontrol", "requeue"),
        # What SLURM sends when the time is nearly up; the script itself queues again.
        ("scancel", "--batch", "--signal=USR1"),
    ],
    ids=["requeued", "time is up"],
)
def test_an_interrupted_job_goes_on(
    slurm: Any,
    stored: Path,
    expected: GaussianMixture,
    tmp_path: Path,
    assert_same_model: Any,
    interruption: tuple[str, ...],
) -> None:
    filled = {
        "SOURCE": str(stored),
        "MODEL": str(tmp_path / "m.gmm"),
        "N_COMPONENTS": "6",
        "MEMORY_LIMIT": "1GiB",
        "MORE_OPTIONS": f"--tol 0 --max-iter {N_ITER} --random-state 0",
    }
    size = ("--ntasks=2", "--cpus-per-task=1", "--mem-per-cpu=1G")
    log = tmp_path / "job.log"
    job = slurm("sbatch", "--parsable", *size, f"--output={log}", DEPLOY / "fit.sbatch", **filled).strip()
    try:
        _until(lambda: log.exists() and log.read_text().count('"event": "pass"') > 5, 120)
        slurm(*interruption, job)
        _until(lambda: "PENDING" in slurm("squeue", "--noheader", "--format=%T", "--job", job), 60)
        # SLURM waits a while before it starts a requeued job.
        slurm("scontrol", "update", f"JobId={job}", "StartTime=now")
        _until(lambda: Path(filled["MODEL"]).exists(), 180)
    except TimeoutError:
        raise AssertionError(log.read_text()[-4000:]) from None
    text = log.read_text()
    starts = text.count('"event": "source"')
    passes = text.count('"event": "pass"')
    assert starts == 2, text[-4000:]
    assert ('"exit_code": 75' in text) == ("--batch" in interruption)
    assert N_ITER <= passes < N_ITER + 5, "it began anew"
    assert_same_model(GaussianMixture.load(filled["MODEL"]), expected, rtol=0)
    _until(lambda: "JobState=COMPLETED" in slurm("scontrol", "show", "job", job), 60)


def test_lost_workers_are_replaced(
    slurm: Any, stored: Path, expected: GaussianMixture, tmp_path: Path, assert_same_model: Any
) -> None:
    pytest.importorskip("dask_jobqueue")
    text = (DEPLOY / "elastic.py").read_text()
    for old, new in (
        ("N_COMPONENTS = 32", "N_COMPONENTS = 6"),
        ('CORES, MEMORY, WALLTIME = 4, "16GB"', 'CORES, MEMORY, WALLTIME = 1, "1GiB"'),
        ("MOST_JOBS = 20", "MOST_JOBS = 1"),
        ("random_state=0,", f"random_state=0, tol=0, max_iter={N_ITER},"),
    ):
        assert old in text
        text = text.replace(old, new)
    script, model = tmp_path / "elastic.py", tmp_path / "m.gmm"
    script.write_text(text)
    with (tmp_path / "log").open("w") as log:
        driver = subprocess.Popen(
            [sys.executable, script, stored, model],
            env=slurm.environment,
            cwd=tmp_path,
            stdout=log,
            stderr=log,
        )
    try:
        checkpoint = tmp_path / "m.gmm.checkpoint"
        _until(checkpoint.exists, 120)
        (first,) = slurm("squeue", "--noheader", "--states=RUNNING", "--format=%i").split()
        slurm("scancel", first)
        assert driver.poll() is None, "it was done before a worker could be lost"
        _until(lambda: set(slurm("squeue", "--noheader", "--format=%i").split()) - {first} != set(), 60)
        assert driver.wait(240) == 0, (tmp_path / "log").read_text()[-4000:]
    finally:
        driver.kill()
    assert_same_model(GaussianMixture.load(model), expected, rtol=0)
