"""[auth]: everyone listed can log in somehow, rules can match, TLS has what it needs."""

from __future__ import annotations

from collections.abc import Iterable

from ..auth import HostRule, User
from ..model import ADMIN_DATABASE, ANY, Config
from ..report import Key, Report, closest
from .files import check_authorities, check_certificate

__all__ = ["check_auth"]

_PASSWORD_METHODS = {"scram-sha-256", "md5"}


def check_auth(config: Config, report: Report) -> None:
    """Users, rules, auth_query and TLS towards clients."""
    methods = _methods(config, report)
    if not report.touches(("auth", "tls")):
        _check_tls(config, methods, report)
    _check_auth_query(config, report)
    for name, user in config.auth.users.items():
        _check_user(config, name, user, methods, report)
    for number, rule in enumerate(config.auth.hosts):
        _check_rule(config, number, rule, report)
    _check_order(config, report)
    if not config.auth.users and config.auth.auth_query is None and methods and methods <= _PASSWORD_METHODS:
        report.add(("auth", "users"), "there is no user, so no one can log in",
                   'add users.NAME = { password = "..." }, or auth_query')
    for key in ("admin_users", "stats_users"):
        for number, name in enumerate(getattr(config.auth, key)):
            if methods and methods <= _PASSWORD_METHODS:
                _check_user_is_known(config, name, ("auth", key, number), report)


def _methods(config: Config, report: Report) -> set[str]:
    """Every method that may be used; none if that is not known, because a setting it depends on is wrong."""
    if report.touches(("auth", "hosts")) or report.touches(("auth", "method")):
        return set()
    return {str(rule.method) for rule in config.auth.hosts if rule.method != "reject"} or {config.auth.method}


def _check_tls(config: Config, methods: set[str], report: Report) -> None:
    tls = config.auth.tls
    key: Key = ("auth", "tls")
    check_certificate(tls.certificate, tls.key, key, report)
    check_authorities(tls.ca, (*key, "ca"), report)
    if tls.mode != "disable" and tls.certificate is None and tls.key is None:
        report.add((*key, "certificate"), f'is missing: mode = "{tls.mode}" needs a certificate and a key',
                   'add both, or mode = "disable"')
    if tls.mode in ("verify-ca", "verify-full") and tls.ca is None:
        report.add((*key, "ca"), f'is missing: mode = "{tls.mode}" checks client certificates with it',
                   "add the certificate of the authority that signs them")
    if "cert" in methods and (tls.mode == "disable" or tls.ca is None):
        where = ("auth", "method") if config.auth.method == "cert" else ("auth", "hosts")
        report.add(where, 'method "cert" needs client certificates, which auth.tls does not ask for',
                   'add certificate, key, ca and mode = "verify-full" to auth.tls')


def _check_auth_query(config: Config, report: Report) -> None:
    auth = config.auth
    if auth.auth_query is not None and "$1" not in auth.auth_query:
        report.add(("auth", "auth_query"), "does not contain $1, the name of the user",
                   "add a condition such as WHERE usename = $1")
    for key in ("auth_user", "auth_dbname"):
        if getattr(auth, key) is not None and auth.auth_query is None:
            report.add(("auth", key), "has no effect without auth_query", "add auth_query, or remove it")
    if auth.auth_dbname is not None:
        _check_database_is_known(config, auth.auth_dbname, ("auth", "auth_dbname"), report)


def _check_user(config: Config, name: str, user: User, methods: set[str], report: Report) -> None:
    key: Key = ("auth", "users", name)
    if not name:
        report.add(key, "an empty name", "name the user")
    proof = user.password or user.verifier or config.auth.auth_query
    if methods and methods <= _PASSWORD_METHODS and not proof:
        report.add(key, "has neither a password nor a verifier, so this user cannot log in",
                   "add password, password_file, password_env or verifier")
    if methods == {"scram-sha-256"} and user.verifier is not None and user.verifier.reveal().startswith("md5"):
        report.add((*key, "verifier"), "an MD5 hash cannot prove a SCRAM login",
                   'give a SCRAM-SHA-256 verifier, or use method = "md5"')
    for number, database in enumerate(user.databases or ()):
        if database != ADMIN_DATABASE:
            _check_database_is_known(config, database, (*key, "databases", number), report)


def _check_rule(config: Config, number: int, rule: HostRule, report: Report) -> None:
    key: Key = ("auth", "hosts", number)
    if rule.source == "unix" and rule.tls is True:
        report.add(key, "never matches: there is no TLS on a unix socket", "remove tls = true")
    elif rule.tls is True and config.auth.tls.mode == "disable" and not report.touches(("auth", "tls")):
        report.add(key, "never matches: TLS towards clients is switched off", "add auth.tls, or remove tls = true")
    if rule.method == "cert" and rule.tls is False:
        report.add(key, 'method "cert" needs TLS, but the rule is for connections without it', "remove tls = false")
    if rule.method == "cert" and rule.source == "unix":
        report.add(key, 'method "cert" needs TLS, which a unix socket does not have', "choose another method")
    if rule.database not in ("all", ADMIN_DATABASE):
        _check_database_is_known(config, rule.database, (*key, "database"), report)
    if rule.user != "all" and rule.method in _PASSWORD_METHODS:
        _check_user_is_known(config, rule.user, (*key, "user"), report)


def _check_order(config: Config, report: Report) -> None:
    """A rule after one that matches everything is never reached."""
    for number, rule in enumerate(config.auth.hosts[:-1]):
        if (rule.source, rule.user, rule.database, rule.tls) == ("all", "all", "all", "any"):
            report.add(("auth", "hosts", number + 1), "is never reached: the rule above it matches everything",
                       "move that rule to the end")
            return


def _check_database_is_known(config: Config, name: str, key: Key, report: Report) -> None:
    if config.database_for(name) is None and not report.touches(("databases", name)):
        report.add(key, f'there is no database "{name}"', _suggest(name, config.databases, "add it to [databases]"))


def _check_user_is_known(config: Config, name: str, key: Key, report: Report) -> None:
    known = name in config.auth.users or config.auth.auth_query is not None
    if not known and not report.touches(("auth", "users", name)):
        report.add(key, f'there is no user "{name}"', _suggest(name, config.auth.users, "add it to auth.users"))


def _suggest(word: str, candidates: Iterable[str], otherwise: str) -> str:
    meant = closest(word, [name for name in candidates if name != ANY])
    return f'did you mean "{meant}"?' if meant else otherwise
