"""What is recorded about the machine, and how torch is set and put back."""

import subprocess

import pytest
import torch

from neuro.training import environment as module
from neuro.training.environment import computing, describe_environment, git_commit

CPU = torch.device("cpu")


def test_versions_machine_and_threads_are_recorded():
    found = describe_environment(CPU)
    assert found["packages"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert found["threads"] == torch.get_num_threads()
    assert found["cpu"]
    assert found["device"] == "cpu"


def test_the_commit_is_that_of_the_sources(tmp_path, monkeypatch):
    def git(*arguments):
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(tmp_path)]
        done = subprocess.run([*command, *arguments], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    package = tmp_path / "neuro"
    package.mkdir()
    (package / "__init__.py").write_text("")
    monkeypatch.setattr(module.neuro, "__file__", str(package / "__init__.py"))
    assert git_commit() is None
    git("init")
    assert git_commit() is None  # a checkout of something else that holds the package untracked
    git("add", "neuro/__init__.py")
    git("commit", "-m", "one")
    assert git_commit() == git("rev-parse", "HEAD")
    (package / "__init__.py").write_text("changed")
    assert git_commit() == git("rev-parse", "HEAD") + "+changes"


def test_torch_is_put_back_as_it_was():
    def settings():
        return (
            torch.are_deterministic_algorithms_enabled(),
            torch.utils.deterministic.fill_uninitialized_memory,
            torch.get_num_threads(),
            torch.get_rng_state().tolist(),
        )

    before = settings()

    def fail_within():
        with computing(CPU, seed=1, deterministic=True, threads=1):
            assert torch.are_deterministic_algorithms_enabled()
            assert torch.get_num_threads() == 1
            torch.rand(3)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_within()
    assert settings() == before


def test_global_random_numbers_follow_the_seed():
    def draw(seed):
        with computing(CPU, seed=seed, deterministic=True, threads=None):
            return torch.rand(3).tolist()

    assert draw(1) == draw(1) != draw(2)
