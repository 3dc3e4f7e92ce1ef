"""Commands as processes: their state is right, also after a kill and for another page server."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from housetrain.errors import IncompleteError
from housetrain.studio import handles, jobs
from housetrain.studio.settings import PASSWORD
from housetrain.system import store
from housetrain.system.lock import Lock


def wait(job: jobs.Job, seconds: float = 60) -> jobs.Job:
    """Return the job when it has ended."""
    until = time.monotonic() + seconds
    while job.active:
        assert time.monotonic() < until, "it does not end"
        time.sleep(0.05)
    return job


def sleeper(folder: Path, work: Path) -> jobs.Job:
    """A command that takes long: a sample from a server that never answers would; here TensorBoard's waiting."""
    (work / "tb").mkdir(exist_ok=True)
    (work / "tb" / "events.out.tfevents.0").write_bytes(b"")
    job = jobs.start(folder, ["board", work, "--port", "0"], target=work, work=work)
    until = time.monotonic() + 30
    while job.state == "starting" and time.monotonic() < until:
        time.sleep(0.05)
    assert job.state == "running", job.error
    return job


def end(pid: int | None) -> None:
    """Kill a process and those it began."""
    if pid is None or not psutil.pid_exists(pid):
        return
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    for one in family:
        one.kill()
    psutil.wait_procs(family, timeout=5)


def test_a_command_that_ends_well(work: Path) -> None:
    job = wait(jobs.start(work / "jobs", ["doctor"], work=work))
    assert job.state == "done" and job.error == ""
    assert "instruction sets" in job.output
    assert jobs.newest(work / "jobs", verb="doctor") == job


def test_a_command_that_fails_says_why_in_one_sentence(work: Path) -> None:
    job = wait(jobs.start(work / "jobs", ["prepare", work / "nowhere"], work=work))
    assert job.state == "failed"
    assert job.error.startswith("The folder does not exist") and "\n" not in job.error


def test_a_killed_command_is_told_as_killed(work: Path) -> None:
    job = sleeper(work / "jobs", work)
    try:
        assert job.pid is not None
        family = psutil.Process(job.pid).children(recursive=True)
        os.kill(job.pid, signal.SIGKILL)
        wait(job, 10)
        assert job.state == "killed"
        assert "killed" in job.error
    finally:
        for one in family:
            one.kill()


def test_the_same_command_on_the_same_folder_is_not_started_twice(work: Path) -> None:
    job = sleeper(work / "jobs", work)
    try:
        assert jobs.start(work / "jobs", ["board", work, "--port", "0"], target=work, work=work) == job
    finally:
        end(job.pid)


def test_stop_asks_with_ctrl_c(work: Path) -> None:
    job = sleeper(work / "jobs", work)
    family = psutil.Process(job.pid).children(recursive=True)
    try:
        job.stop()
        wait(job, 20)
        assert job.state in ("done", "stopped")
        psutil.wait_procs(family, timeout=10)
        assert not any(one.is_running() for one in family)
    finally:
        end(job.pid)


def test_a_job_outlives_the_server_that_began_it(work: Path) -> None:
    """Another process begins it and is killed; this one finds it by its folder."""
    (work / "tb").mkdir()
    (work / "tb" / "events.out.tfevents.0").write_bytes(b"")
    script = (
        "import sys, time; from pathlib import Path; from housetrain.studio import jobs\n"
        "work = Path(sys.argv[1])\n"
        "jobs.start(work / 'jobs', ['board', work, '--port', '0'], target=work, work=work)\n"
        "print('begun', flush=True); time.sleep(60)\n"
    )
    server = subprocess.Popen([sys.executable, "-c", script, str(work)], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None and server.stdout.readline() == "begun\n"
    os.killpg(server.pid, signal.SIGKILL) if os.getpgid(server.pid) == server.pid else server.kill()
    server.wait()
    server.stdout.close()
    job = jobs.newest(work / "jobs", target=work)
    assert job is not None
    try:
        until = time.monotonic() + 30
        while job.state == "starting" and time.monotonic() < until:
            time.sleep(0.05)
        assert job.state == "running"
        job.stop()
        assert wait(job, 20).state in ("done", "stopped")
    finally:
        end(job.pid)


def test_a_number_that_is_somebody_elses_is_not_killed(work: Path) -> None:
    other = subprocess.Popen(["sleep", "30"])
    try:
        with pytest.raises(IncompleteError, match="process has ended"):
            handles.send(other.pid, at_once=True)
        assert other.poll() is None
        with pytest.raises(IncompleteError, match="No process"):
            jobs.stop_run(work)
    finally:
        other.kill()
        other.wait()


def test_a_note_of_a_stranger_signals_nothing(work: Path, tmp_path: Path) -> None:
    job = sleeper(work / "jobs", work)
    try:
        note = store.read_json(job.folder / "process.json")
        for forged in (
            {"pid": note["pid"], "born": note["born"]},
            {**note, "seal": "0" * 64},
            {**note, "seal": None},
            {**note, "pid": os.getpid()},
            {**note, "born": note["born"] + 5},
        ):
            store.write_json_atomic(job.folder / "process.json", forged)
            with pytest.raises(IncompleteError, match=r"not started by|process has ended"):
                job.stop()
        store.write_json_atomic(job.folder / "process.json", note)
        moved = shutil.copytree(job.folder, tmp_path / "received" / job.folder.name)
        with pytest.raises(IncompleteError, match="not started by"):
            jobs.Job.open(moved).stop()
        assert job.state == "running"
        run = work / "run"  # the note of a run that another process trains names this one
        with Lock(run):
            holder = store.read_json(run / ".lock.json")
            store.write_json_atomic(run / ".lock.json", {**holder, "pid": note["pid"], "born": note["born"]})
            with pytest.raises(IncompleteError, match="No process"):
                jobs.stop_run(run)
        assert job.state == "running"
    finally:
        end(job.pid)


def test_a_password_does_not_travel(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSWORD, "open sesame, please")
    job = sleeper(work / "jobs", work)
    try:
        assert PASSWORD not in psutil.Process(job.pid).environ()
    finally:
        end(job.pid)


def test_a_note_that_is_damaged_hides_no_other(work: Path) -> None:
    job = wait(jobs.start(work / "jobs", ["doctor"], work=work))
    (work / "jobs" / "1-odd").mkdir()
    (work / "jobs" / "2-odd").mkdir()
    (work / "jobs" / "2-odd" / "job.json").write_text("{torn")
    assert jobs.all_of(work / "jobs") == (job,)
