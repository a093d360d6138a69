"""What `swarm doctor` says of the model that the environment names."""

import pytest

from swarm.doctor import State, _model
from tests.fakes.endpoint import Reply, endpoint

KEY = "sk-doctor-0123456789"


@pytest.fixture
def env(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY", "OPENAI_MODEL"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_without_a_model_it_says_how_to_name_one(env: pytest.MonkeyPatch) -> None:
    assert (_model().state, _model().found) == (State.LACK, "none is named")
    assert "docs/models.md" in _model().remedy


def test_an_endpoint_is_asked_what_it_offers(env: pytest.MonkeyPatch) -> None:
    with endpoint([Reply()], models=["one", "two"]) as server:
        env.setenv("OPENAI_BASE_URL", server.url)
        assert (_model().state, _model().found) == (State.OK, f"{server.url} offers 2 models")
        env.setenv("OPENAI_MODEL", "three")
        assert _model().state is State.LACK
        assert "'three', which is not among them: one, two" in _model().remedy


def test_one_that_does_not_answer_is_told_without_the_key(env: pytest.MonkeyPatch) -> None:
    with endpoint([Reply()]) as server:
        env.setenv("OPENAI_BASE_URL", server.url)
    env.setenv("OPENAI_API_KEY", KEY)
    found = _model()
    assert (found.state, found.found) == (State.LACK, "does not answer")
    assert KEY not in found.remedy
