import pytest

from tallystick.base.errors import Misconfigured
from tallystick.settings import Settings, load, sentences


def test_nothing_given_gives_defaults_that_start(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = load({})
    assert settings == Settings()
    assert settings.address == "http://127.0.0.1:8080"


def test_the_environment_wins_over_the_file(tmp_path):
    file = tmp_path / "some.toml"
    file.write_text('port = 9000\nhost = "0.0.0.0"\npublic_url = "https://pay.example.com/"\n')
    settings = load({"TALLYSTICK_PORT": "9001", "TALLYSTICK_SIGN_UP_OPEN": "false"}, file)
    assert (settings.port, settings.host, settings.sign_up_open) == (9001, "0.0.0.0", False)
    assert settings.address == "https://pay.example.com"


def test_the_names_other_tools_use_are_kept():
    settings = load({"DATABASE_URL": "postgresql://x/y", "STRIPE_WEBHOOK_SECRET": "whsec_a, whsec_b,"})
    assert settings.database_url == "postgresql://x/y"
    assert settings.listed("stripe_webhook_secret") == ("whsec_a", "whsec_b")


def test_an_empty_variable_counts_as_not_set():
    assert load({"DATABASE_URL": " ", "TALLYSTICK_PORT": ""}) == Settings()


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"TALLYSTICK_PORT": "70000"}, "TALLYSTICK_PORT"),
        ({"TALLYSTICK_WORKERS": "0"}, "TALLYSTICK_WORKERS"),
        ({"TALLYSTICK_WORKERS": "many"}, "TALLYSTICK_WORKERS"),
        ({"TALLYSTICK_SIGN_UP_OPEN": "maybe"}, "TALLYSTICK_SIGN_UP_OPEN"),
        ({"TALLYSTICK_DRAIN_S": "-1"}, "TALLYSTICK_DRAIN_S"),
        ({"TALLYSTICK_LOG_FORMAT": "xml"}, "TALLYSTICK_LOG_FORMAT"),
        ({"TALLYSTICK_PURCHASE_MIN": "20", "TALLYSTICK_PURCHASE_MAX": "10"}, "TALLYSTICK_PURCHASE_MIN"),
        ({"STRIPE_API_KEY": "sk_live_x", "STRIPE_API_BASE": "http://127.0.0.1:1"}, "STRIPE_API_BASE"),
        ({"DATABASE_URL": "mysql://x"}, "DATABASE_URL"),
        ({"TALLYSTICK_SERVICES_TOKENS": "short"}, "TALLYSTICK_SERVICES_TOKENS"),
        ({"TALLYSTICK_SERVICES_TOKENS": ","}, "TALLYSTICK_SERVICES_TOKENS"),
        ({"STRIPE_WEBHOOK_SECRET": ","}, "STRIPE_WEBHOOK_SECRET"),
        ({"TALLYSTICK_SEALING_KEYS": "x"}, "ealing key number 1"),
    ],
)
def test_a_wrong_setting_stops_the_start_with_one_sentence_that_names_it(environment, named):
    with pytest.raises(Misconfigured) as refused:
        load(environment)
    assert named in refused.value.message
    assert refused.value.message.endswith(".")
    assert "\n" not in refused.value.message


@pytest.mark.parametrize(
    ("content", "said"), [("colour = 1", "colour"), ("port = = 1", "cannot be read"), ('port = "x"', "TALLYSTICK_PORT")]
)
def test_a_wrong_file_is_named(tmp_path, content, said):
    file = tmp_path / "bad.toml"
    file.write_text(content)
    with pytest.raises(Misconfigured, match=said):
        load({}, file)


def test_a_missing_file_that_was_asked_for_is_an_error(tmp_path):
    with pytest.raises(Misconfigured, match="cannot be read"):
        load({}, tmp_path / "none.toml")


def test_every_setting_has_one_sentence():
    assert set(sentences()) == set(Settings.__struct_fields__)
    for name, sentence in sentences().items():
        assert sentence.endswith("."), name
        assert "\n" not in sentence, name
