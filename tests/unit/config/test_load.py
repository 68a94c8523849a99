"""Loading: good files, all mistakes of a bad file at once, files that are no TOML, passwords from elsewhere."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shardproxy.config.load import load, recheck
from shardproxy.config.model import Config
from shardproxy.errors import ConfigError

from .conftest import MINIMAL, Load, Mistakes

EXAMPLE = Path(__file__).parents[3] / "docs" / "shardproxy.example.toml"

DESIGN = """
[listen]
postgres = "127.0.0.1:6432"
http = "127.0.0.1:9632"
workers  = 1
[auth]
method = "scram-sha-256"
users.app = { password = "secret" }
[pool]
mode = "transaction"
size = 20
[databases.shop]
dialect = "postgres"
server_user = "postgres"
consistency = "database"
balance = "least_connections"
default_keyspace = "main"
[databases.shop.keyspaces.main]
shards.main = { primary = "127.0.0.1:25000/shop", replicas = ["127.0.0.1:25001/shop"] }
[databases."*"]
shards.any = { primary = "127.0.0.1:25000" }
"""


def test_a_whole_file(load_text: Load) -> None:
    config = load_text(DESIGN)
    assert [server.id for server in config.databases["shop"].servers] == ["shop/main/main/0", "shop/main/main/1"]
    anything = config.database_for("other")
    assert anything is not None
    assert [(server.id, server.dbname) for server in anything.servers] == [("other/main/any/0", "other")]


def test_the_example_is_a_good_configuration(tmp_path: Path) -> None:
    (tmp_path / "exporter.password").write_text("secret\n")
    path = tmp_path / "shardproxy.toml"
    path.write_text(EXAMPLE.read_text())
    config = load(path, {"SHARDPROXY_OPERATOR_PASSWORD": "x", "SHARDPROXY_SERVER_PASSWORD": "hush"})
    password = config.databases["*"].server_password
    assert password is not None
    assert password.reveal() == "hush", "the wildcard uses the login of the entry with the same primary"


def test_the_login_is_shared_only_with_the_same_server(load_text: Load) -> None:
    shop = '[databases.shop]\nserver_user = "boss"\nserver_password = "hush"\nprimary = "a:1/shop"\n'
    head = MINIMAL.partition("[databases")[0]
    assert load_text(head + shop + '[databases."*"]\nprimary = "a:1"\n').databases["*"].server_user == "boss"
    assert load_text(head + shop + '[databases."*"]\nprimary = "a:2"\n').databases["*"].server_user == "postgres"
    own = '[databases."*"]\nprimary = "a:1"\nserver_user = "own"\n'
    assert load_text(head + shop + own).databases["*"].server_user == "own"


def test_all_mistakes_at_once(mistakes_in: Mistakes) -> None:
    found = mistakes_in("""
        topolgy = "x"
        [listen]
        postgres = ["127.0.0.1:6432", "127.0.0.1:99999", "127.0.0.1:6432"]
        mysql = "127.0.0.1:6433"
        worker = 2
        [auth]
        method = "plain"
        users.app = { password = 5 }
        users.b = { password = "hush", password_file = "y" }
        users.e = { password = "hush", databases = ["shopp"] }
        hosts = [{ source = "10.0.0.0/33" }, { source = "unix", tls = true }, { tls = "maybe" },
                 { database = "shpo" }]
        [pool]
        size = "20"
        [databases.shop]
        dialect = "mysql"
        balance = "least_conections"
        [databases.shop.keyspaces.main]
        shards.s0 = { primary = "127.0.0.1:25010/shop", replicas = ["127.0.0.1:25010/shop", "a"] }
        shards.s1 = { primry = "127.0.0.1:25020/shop" }
        [databases.shardproxy]
        primary = "a:1"
        """)
    assert set(found) == {
        "topolgy", "listen.postgres[1]", "listen.postgres[2]", "listen.mysql", "listen.worker", "auth.method",
        "auth.users.app.password", "auth.users.b.password_file", "auth.users.e.databases[0]", "auth.hosts[0].source",
        "auth.hosts[1]", "auth.hosts[2].tls", "auth.hosts[3].database", "pool.size", "databases.shop.dialect",
        "databases.shop.balance", "databases.shop.keyspaces.main.shards.s0.replicas[0]",
        "databases.shop.keyspaces.main.shards.s0.replicas[1]", "databases.shop.keyspaces.main.shards.s1.primary",
        "databases.shop.keyspaces.main.shards.s1.primry", "databases.shardproxy"}


def test_a_mistake_does_not_cause_others(mistakes_in: Mistakes) -> None:
    """What depends on a wrong setting is not reported: only its cause."""
    found = mistakes_in(MINIMAL.replace('{ password = "secret" }', "5").replace("[auth.users]", """
        [auth]
        admin_users = ["app"]
        [auth.users]"""))
    assert set(found) == {"auth.users.app"}


def test_syntax_error_has_a_line(mistakes_in: Mistakes) -> None:
    assert "line 2" in mistakes_in("[listen]\npostgres = = 5\n")[""]
    assert "line 3" in mistakes_in("[listen]\n[pool]\n[listen]\n")[""]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "latin1.toml").write_bytes(b"[listen]\n# caf\xe9\n")
    for name, said in (("none.toml", "No such file"), ("latin1.toml", "line 2: not UTF-8"), (".", "Is a directory")):
        with pytest.raises(ConfigError, match=said):
            load(tmp_path / name, {})


def test_passwords_from_files_and_environment(load_text: Load, tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "a").write_text("from file \nsecond line\n")
    config = load_text(MINIMAL + """
        server_password_env = "SERVER"
        [auth.users.a]
        password_file = "secret/a"
        [auth.users.b]
        password_env = "B"
        server_password_file = "secret/a"
        """, {"SERVER": "s", "B": "b"})
    a, b, server = config.auth.users["a"], config.auth.users["b"], config.databases["shop"].server_password
    assert a.password is not None
    assert b.password is not None
    assert b.server_password is not None
    assert server is not None
    assert [secret.reveal() for secret in (a.password, b.password, b.server_password, server)] == [
        "from file ", "b", "from file ", "s"]


@pytest.mark.parametrize("content", [b"", b"\nhush\n", b"\xff\xfe"])
def test_password_file_without_a_password(content: bytes, mistakes_in: Mistakes, tmp_path: Path) -> None:
    (tmp_path / "p").write_bytes(content)
    found = mistakes_in(MINIMAL + '[auth.users.x]\npassword_file = "p"\n')
    assert set(found) == {"auth.users.x.password_file"}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two self-signed certificates, a.crt and b.crt with a.key and b.key, and locked.key, which is a.key encrypted."""
    folder = tmp_path_factory.mktemp("certificates")
    for name in "ab":
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.crt"],
                       cwd=folder, check=True, capture_output=True)
    subprocess.run(["openssl", "ec", "-aes128", "-passout", "pass:hush", "-in", "a.key", "-out", "locked.key"],
                   cwd=folder, check=True, capture_output=True)
    return folder


@pytest.mark.parametrize(("certificate", "key", "where", "said"), [
    ("a.crt", "a.key", "", ""), ("a.crt", "b.key", "key", "not the key of"), ("a.key", "a.key", "certificate", "PEM"),
    ("a.crt", "locked.key", "key", "passphrase")])
def test_certificates(
        certificate: str, key: str, where: str, said: str, certificates: Path, mistakes_in: Mistakes) -> None:
    found = mistakes_in(f"""
        [auth]
        tls = {{ certificate = "{certificates / certificate}", key = "{certificates / key}" }}
        """ + MINIMAL)
    assert list(found) == ([f"auth.tls.{where}"] if where else [])
    assert all(said in text for text in found.values())


def test_certificate_authorities(certificates: Path, mistakes_in: Mistakes) -> None:
    line = "server_tls = {{ mode = 'verify-full', ca = '{}' }}\n"
    assert mistakes_in(MINIMAL + line.format(certificates / "a.crt")) == {}
    assert set(mistakes_in(MINIMAL + line.format(certificates / "a.key"))) == {"databases.shop.server_tls.ca"}


def test_a_changed_configuration_is_checked_again(load_text: Load) -> None:
    config = load_text()
    assert recheck(config) == []
    changed = config.model_copy(update={"pool": config.pool.model_copy(update={"min_size": 50})})
    assert [mistake.key for mistake in recheck(changed)] == ["pool.min_size"]


_keys = st.sampled_from([
    "primary", "shards", "users", "a", "*", "hosts", "size", "replicas", "tls", "keyspaces", "method", "password",
    "mode", "verifier", "databases", "address", "server_tls", "postgres", "unix"])
_leaves = st.one_of(
    st.booleans(), st.integers(-5, 70000), st.floats(allow_nan=True), st.text(max_size=8), st.just("a:1/b"))
_toml = st.recursive(
    _leaves, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_keys, inner, max_size=4)),
    max_leaves=12)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raw=st.dictionaries(st.sampled_from([*Config.model_fields, "x"]), _toml, max_size=5))
def test_whatever_is_written_is_a_config_or_mistakes(raw: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / "fuzz.toml"
    path.write_text("\n".join(f"{name} = {_as_toml(value)}" for name, value in raw.items()))
    try:
        load(path, {})
    except ConfigError as error:
        assert error.mistakes
        assert not any("not valid TOML" in mistake.problem for mistake in error.mistakes), path.read_text()


def _as_toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(letter):08x}" for letter in value) + '"'
    if isinstance(value, list):
        return "[" + ", ".join(map(_as_toml, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f'"{name}" = {_as_toml(item)}' for name, item in value.items()) + "}"
    return repr(value)
