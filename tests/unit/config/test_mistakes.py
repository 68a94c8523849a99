"""Every kind of mistake: one text each, the key it is reported at, and a part of what is said."""

from __future__ import annotations

import pytest

from .conftest import MINIMAL, Mistakes

_HEAD = '[listen]\npostgres = "127.0.0.1:6432"\n[auth.users]\napp = { password = "x" }\n'
_SHOP = '[databases.shop]\nprimary = "a:1/shop"\n'
_CUSTOMER = "databases.shop.keyspaces.customer"
_SHARDED = (_HEAD + '[databases.shop]\ndefault_keyspace = "main"\nkeyspaces.main.shards.m = { primary = "m:1" }\n'
            '[databases.shop.keyspaces.customer]\nshards.s0 = { primary = "a:1" }\nshards.s1 = { primary = "b:1" }\n')

CASES = [
    # names and types
    (MINIMAL + "[pol]\nsize = 1\n", "pol", 'did you mean "pool"?'),
    (MINIMAL + "[pool]\nworkers = 2\n", "pool.workers", "it belongs in [listen]"),
    (MINIMAL + "[pool]\nzzz = 2\n", "pool.zzz", "possible here"),
    (MINIMAL + '[pool]\nsize = "20"\n', "pool.size", "a whole number is expected, not a text"),
    (MINIMAL + "[pool]\nsize = true\n", "pool.size", "not true or false"),
    (MINIMAL + "[pool]\nsize = 0\n", "pool.size", "at least 1"),
    (MINIMAL + "[pool]\nsize = 1.0\n", "pool.size", "whole number"),
    (MINIMAL + '[pool]\nquery_wait_timeout = "soon"\n', "pool.query_wait_timeout", "not a time"),
    (MINIMAL + '[pool]\nmode = "statement"\n', "pool.mode", "'transaction' or 'session'"),
    (MINIMAL + '[pool]\nmode = "sesion"\n', "pool.mode", 'did you mean "session"?'),
    (MINIMAL + "[pool]\ntcp_keepalive = 1\n", "pool.tcp_keepalive", "true or false"),
    (MINIMAL + "[log]\nslow_statement_ms = -1\n", "log.slow_statement_ms", "at least 0"),
    (MINIMAL + 'users = "x"\n', "databases.shop.users", "a list is expected"),
    (MINIMAL + "zone = 5\n", "databases.shop.zone", "put it in quotes"),
    (MINIMAL + 'max_lag = "far"\n', "databases.shop.max_lag", "not a time"),
    ('pool = 5\n' + MINIMAL, "pool", "a table is expected"),
    (MINIMAL + "[pool]\ndefault_pool_size = 5\n", "pool.default_pool_size", "it is called size in [pool]"),
    # listen
    (MINIMAL.replace("127.0.0.1:6432", "6432"), "listen.postgres", "has no port"),
    (MINIMAL.replace('postgres = "127.0.0.1:6432"', ""), "listen", "nothing to listen on"),
    (MINIMAL.replace('"127.0.0.1:6432"', '["a:1", "a:1"]'), "listen.postgres[1]", "already used"),
    ('[listen]\nhttp = "127.0.0.1:6432"\n' + MINIMAL.replace("[listen]", ""), "listen.http", "already used"),
    ('[listen]\nunix = "/nowhere"\n' + MINIMAL.replace("[listen]", ""), "listen.unix", "does not exist"),
    ('[listen]\nunix = { mode = "0777" }\n' + MINIMAL.replace("[listen]", ""), "listen.unix.directory", "is missing"),
    ('[listen]\nunix = { directory = "/tmp", mode = "rwx" }\n' + MINIMAL.replace("[listen]", ""), "listen.unix.mode",
     "right form"),
    ('[listen]\nproxy_protocol = ["10.0.0.0/33"]\n' + MINIMAL.replace("[listen]", ""), "listen.proxy_protocol[0]",
     "not a network"),
    (MINIMAL + '[log]\nfile = "/nowhere/x.log"\n', "log.file", "does not exist"),
    ('topology = "etcd"\n' + MINIMAL, "topology", "not a topology store"),
    # auth
    (MINIMAL + '[auth]\nmethod = "plain"\n', "auth.method", "refused"),
    (MINIMAL + "[auth.users.x]\n", "auth.users.x", "neither a password nor a verifier"),
    (MINIMAL + '[auth.users.x]\nverifier = "hush"\n', "auth.users.x.verifier", "neither a SCRAM"),
    (MINIMAL + '[auth.users.x]\npassword = ["hush"]\n', "auth.users.x.password", "put it in quotes"),
    (MINIMAL + f'[auth.users.x]\nverifier = "md5{"0" * 32}"\n', "auth.users.x.verifier", "cannot prove a SCRAM"),
    (MINIMAL + '[auth.users.x]\npassword = "hush"\npassword_env = "P"\n', "auth.users.x.password_env", "contradicts"),
    (MINIMAL + '[auth.users.x]\npassword_env = "P"\n', "auth.users.x.password_env", "not set"),
    (MINIMAL + '[auth.users.x]\npassword_file = "p"\n', "auth.users.x.password_file", "cannot be read: No such file"),
    (MINIMAL + '[auth.users.x]\npassword_file = "/tmp"\n', "auth.users.x.password_file", "not a file"),
    (MINIMAL + '[auth.users.x]\npassword = "x"\ndatabases = ["shpo"]\n', "auth.users.x.databases[0]", '"shop"?'),
    (MINIMAL + '[auth]\nauth_query = "SELECT 1"\n', "auth.auth_query", "$1"),
    (MINIMAL + '[auth]\nauth_user = "x"\n', "auth.auth_user", "without auth_query"),
    (MINIMAL + '[auth]\nadmin_users = ["ap"]\n', "auth.admin_users[0]", 'did you mean "app"?'),
    (MINIMAL + '[auth]\ntls = { mode = "require" }\n', "auth.tls.certificate", "is missing"),
    (MINIMAL + '[auth]\ntls = { certificate = "x" }\n', "auth.tls.key", "is missing"),
    (MINIMAL + '[auth]\ntls = { certificate = "/dev/null", key = "y" }\n', "auth.tls.key", "cannot be read"),
    (MINIMAL + '[auth]\nmethod = "cert"\n', "auth.method", "needs client certificates"),
    (MINIMAL + '[[auth.hosts]]\nsource = "10.0.0.0/40"\n', "auth.hosts[0].source", "not a network"),
    (MINIMAL + '[[auth.hosts]]\ntls = "maybe"\n', "auth.hosts[0].tls", '"any"'),
    (MINIMAL + "[[auth.hosts]]\ntls = true\n", "auth.hosts[0]", "never matches"),
    (MINIMAL + '[[auth.hosts]]\nsource = "unix"\ntls = true\n', "auth.hosts[0]", "never matches"),
    (MINIMAL + '[[auth.hosts]]\nuser = "ap"\n', "auth.hosts[0].user", 'did you mean "app"?'),
    (MINIMAL + '[[auth.hosts]]\ndatabase = "shpo"\n', "auth.hosts[0].database", 'did you mean "shop"?'),
    (MINIMAL + '[[auth.hosts]]\n[[auth.hosts]]\nsource = "unix"\n', "auth.hosts[1]", "never reached"),
    (_HEAD.replace('app = { password = "x" }', "") + _SHOP, "auth.users", "no one can log in"),
    # pool
    (MINIMAL + "[pool]\nmin_size = 21\n", "pool.min_size", "more than size = 20"),
    (MINIMAL + "[pool]\nreserve_size = 1\nreserve_timeout = 0\n", "pool.reserve_timeout", "never used"),
    (MINIMAL + "pool_size = 5\nmin_pool_size = 6\n", "databases.shop.min_pool_size", "more than the pool size"),
    # databases
    (_HEAD, "databases", "there is no database"),
    (_HEAD + "[databases.shop]\n", "databases.shop.primary", "has no server"),
    (_HEAD + '[databases.shop]\nreplicas = ["a:1"]\n', "databases.shop.replicas", "need a primary"),
    (_HEAD + '[databases.shardproxy]\nprimary = "a:1"\n', "databases.shardproxy", "admin console"),
    (_HEAD + _SHOP + 'shards.x = { primary = "b:1" }\n', "databases.shop.shards", "contradicts primary"),
    (_HEAD + _SHOP + 'default_keyspace = "mian"\n'
     'keyspaces.main.shards.x = { primary = "b:1" }\nkeyspaces.main.shards.y = { primary = "b:2" }\n',
     "databases.shop.keyspaces.main.tables", "are missing"),
    (_HEAD + '[databases.shop]\ncoordinator = "mian"\nkeyspaces.main.shards.x = { primary = "b:1" }\n',
     "databases.shop.coordinator", 'did you mean "main"?'),
    (_HEAD + "[databases.shop]\nkeyspaces.main = {}\n", "databases.shop.keyspaces.main.shards", "no server"),
    (_HEAD + '[databases.shop]\nshards.x = { replicas = ["a:1"] }\n', "databases.shop.shards.x.primary", "is missing"),
    (_HEAD + _SHOP + 'replicas = ["a:1/shop"]\n', "databases.shop.replicas[0]", "same server as the primary"),
    (_HEAD + _SHOP + 'replicas = ["b:1/shop", "b:1"]\n', "databases.shop.replicas[1]", "same server as replica 0"),
    (_HEAD + _SHOP + 'replicas = ["b:1/other"]\n', "databases.shop.replicas[0]", "the same databases"),
    (_HEAD + _SHOP + 'replicas = [{ address = "b:1", weight = 0 }]\nbalance = "weighted"\n',
     "databases.shop.replicas", "no replica has a weight"),
    (_HEAD + _SHOP + "lag_interval = 0\n", "databases.shop.lag_interval", "cannot be 0"),
    (_HEAD + _SHOP + 'patroni = ["db1:8008"]\n', "databases.shop.patroni[0]", "not a URL"),
    (_HEAD + _SHOP + 'users = ["apq"]\n', "databases.shop.users[0]", 'did you mean "app"?'),
    (_HEAD + _SHOP + 'server_tls = { mode = "verify-full", ca = "x" }\n', "databases.shop.server_tls.ca", "be read"),
    (_HEAD + '[databases.shop]\nprimary = "/tmp:1/shop"\nserver_tls = { mode = "require" }\n',
     "databases.shop.server_tls.mode", "unix socket"),
    (_HEAD + '[databases.shop]\nprimary = "pg://u:hush@a/shop"\n', "databases.shop.primary", "URL"),
    (_HEAD + '[databases.shop]\nprimary = { address = "a" }\n', "databases.shop.primary.address", "no port"),
    # not built yet
    ('[listen]\nmysql = "127.0.0.1:3306"\n' + MINIMAL.replace("[listen]", ""), "listen.mysql", "not built yet"),
    (MINIMAL + 'dialect = "mysql"\n', "databases.shop.dialect", "not built yet"),
    (_HEAD + '[databases.shop]\nshards.a = { primary = "a:1" }\nshards.b = { primary = "b:1" }\n',
     "databases.shop.shards", "whose primary coordinates"),
    (_HEAD + '[databases.shop.keyspaces.main]\nshards.a = { primary = "a:1" }\nshards.b = { primary = "b:1" }\n',
     "databases.shop.keyspaces.main.shards", "whose primary coordinates"),
    (_HEAD + '[databases.shop.keyspaces.main]\nshards.a = { primary = "a:1" }\ntables.t = { key = "id" }\n',
     "databases.shop.keyspaces.main.tables", "of the default keyspace are not split"),
    (_HEAD + '[databases.shop.keyspaces.main]\nshards.a = { primary = "a:1", empty = true }\n',
     "databases.shop.keyspaces.main.shards.a.empty", "cannot be empty"),
    (_SHARDED + 'tables.t = {}\n', _CUSTOMER + ".tables.t.key", "has several shards"),
    (_SHARDED + 'tables.t = { key = "id", reference = true }\n', _CUSTOMER + ".tables.t.key", "not split by a key"),
    (_SHARDED + 'tables.t = { key = ["a", "a"] }\n', _CUSTOMER + ".tables.t.key", "twice"),
    (_SHARDED + 'tables.t = { key = 1 }\n', _CUSTOMER + ".tables.t.key", ""),
    (_SHARDED + 'tables.t = { key = "a" }\ntables.u = { key = ["a", "b"] }\n', _CUSTOMER + ".tables", "different"),
    (_SHARDED + 'tables.t = { key = "a" }\ntables."public.t" = { key = "a" }\n', _CUSTOMER + '.tables."public.t"',
     "also a table"),
    (_SHARDED + 'tables.t = { key = "a" }\nslots = 0\n', _CUSTOMER + ".slots", "at least 1"),
    (_SHARDED + 'tables.t = { key = "a" }\nfunction = "modulo"\n', _CUSTOMER + ".function", ""),
    (_SHARDED + 'tables.t = { key = "a" }\nranges.s0 = { below = 5 }\n', _CUSTOMER + ".ranges", "are not used"),
    (_SHARDED + 'tables.t = { key = "a" }\nfunction = "range"\n', _CUSTOMER + ".ranges", "are missing"),
    (_SHARDED + 'tables.t = { key = "a" }\nfunction = "list"\nlists.s2 = [1]\n', _CUSTOMER + ".lists.s2", "no shard"),
    (_SHARDED + 'tables.t = { key = "a" }\nfunction = "list"\nlists.s0 = [1]\nlists.s1 = ["1"]\n',
     _CUSTOMER + ".lists.s1", "also in the list"),
    (_SHARDED + 'tables.t = { key = ["a", "b"] }\nfunction = "list"\nlists.s0 = [1]\n', _CUSTOMER + ".tables.t.key",
     "takes a key of one column"),
    (_SHARDED.replace("b:1", "a:1") + 'tables.t = { key = "a" }\n', _CUSTOMER + ".shards.s1", "also used by the shard"),
    (_SHARDED.replace("a:1", "m:1") + 'tables.t = { key = "a" }\n', _CUSTOMER + ".shards.s0", "also used by the shard"),
    (_SHARDED.replace("default_keyspace", "# ") + 'tables.t = { key = "a" }\n', "databases.shop.default_keyspace",
     "is missing"),
    (_SHARDED.replace("default_keyspace", 'coordinator = "customer"\ndefault_keyspace') + 'tables.t = { key = "a" }\n',
     "databases.shop.coordinator", "not built yet"),
    (_SHARDED.replace("shards.s0", 'shards."s/0"') + 'tables.t = { key = "a" }\n', _CUSTOMER + '.shards."s/0"',
     "without slashes"),
    ('topology = "etcd"\n' + MINIMAL, "topology", "is not a topology store"),
]


@pytest.mark.parametrize(("text", "key", "said"), CASES, ids=[f"{n}-{case[1]}" for n, case in enumerate(CASES)])
def test_mistake(text: str, key: str, said: str, mistakes_in: Mistakes) -> None:
    found = mistakes_in(text)
    assert key in found, found
    assert said in found[key]
    assert len(found) == 1, "one mistake is reported as several"
