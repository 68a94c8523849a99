"""Authentication, sans-IO: bytes in, bytes out; both towards clients and towards servers.

    saslprep   how a password becomes bytes             md5     PostgreSQL's md5
    keys       SCRAM keys, verifiers, derivation cache  scram   SCRAM exchanges, both roles
    secret     what is known of a user's password       messages   authentication messages
    name_map   whom a certificate's name may log in as
    towards_clients   ClientAuthentication: checks a client, by any method
    towards_servers   ServerAuthentication: logs in to a server, by any method

A client that logs in with SCRAM proves its ClientKey. With that, and the verifier it was checked with,
shardproxy logs in to the servers as that user: no plain password is needed anywhere.
"""

from .keys import CACHE, KeyCache, ScramKeys, Verifier
from .messages import ALPN
from .name_map import NameMap
from .secret import Secret, ServerCredential
from .towards_clients import METHODS, ClientAuthentication, ClientCertificate
from .towards_servers import ServerAuthentication

__all__ = ["ALPN", "CACHE", "METHODS", "ClientAuthentication", "ClientCertificate", "KeyCache", "NameMap", "ScramKeys",
           "Secret", "ServerAuthentication", "ServerCredential", "Verifier"]  # fmt: skip
