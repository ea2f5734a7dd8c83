"""Why PostgreSQL and thumbq do not agree on TLS, in a sentence with the way out."""

import ssl
from typing import NamedTuple

_OF_POSTGRES = {
    9: "is not valid yet: compare the clocks of both machines",
    10: "has expired: renew it there",
    18: "signed itself: name it in sslrootcert, or the authority of another one",
    19: "is signed by an authority that sslrootcert does not hold: name the file of that authority there",
    20: "is signed by an authority that sslrootcert does not hold: name the file of that authority there",
    21: "is signed by an authority that sslrootcert does not hold: name the file of that authority there",
    23: "was revoked: renew it there",
    62: "is for another name than the host in DATABASE_URL: write the name that it has, or sslmode=verify-ca",
    64: "is for another address than the host in DATABASE_URL: write a name that it has, or sslmode=verify-ca",
}
# What PostgreSQL says of a certificate of ours.
_OF_OURS = {
    "CERTIFICATE_EXPIRED": "PostgreSQL finds that the certificate in sslcert has expired: renew it.",
    "CERTIFICATE_REVOKED": "PostgreSQL finds that the certificate in sslcert was revoked: renew it.",
    "UNKNOWN_CA": "PostgreSQL does not trust the authority of the certificate in sslcert: take one that the"
    " ssl_ca_file of PostgreSQL has signed.",
    "BAD_CERTIFICATE": "PostgreSQL does not accept the certificate in sslcert: take one that the ssl_ca_file of"
    " PostgreSQL has signed.",
}
_OF_FILES = {
    "KEY_VALUES_MISMATCH": "The key in sslkey does not belong to the certificate in sslcert.",
    "NO_CERTIFICATE_OR_CRL_FOUND": "A file in sslrootcert or sslcrl holds no certificate in PEM.",
}
# OpenSSL names no reason for a file that is no PEM.
_OF_PEM = {"BAD_BASE64_DECODE", "BAD_DECRYPT", "BAD_END_LINE", "NO_START_LINE"}
_UNREADABLE = (
    "The files in sslcert and sslkey cannot be used: they must be PEM, and sslpassword must be the password of the key."
)
_NO_TLS = "PostgreSQL has no TLS there: set ssl = on in PostgreSQL, or sslmode=prefer in DATABASE_URL."
# Not valid yet, expired, revoked: files are renewed in their place.
_WITH_TIME = {9, 10, 23, "CERTIFICATE_EXPIRED", "CERTIFICATE_REVOKED"}
# asyncpg's words for the answer N.
_REJECTED = "rejected SSL upgrade"


class TlsTrouble(NamedTuple):
    """Why TLS failed, in one sentence. `may_pass`: renewed files in the same place help, without another setting."""

    sentence: str
    may_pass: bool = False


def trouble_with_tls(error: BaseException | None) -> TlsTrouble | None:
    """Return why TLS failed. None when something else did."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            what = _OF_POSTGRES.get(error.verify_code, f"cannot be verified: {error.verify_message}")
            return TlsTrouble(f"The certificate of PostgreSQL {what}.", may_pass=error.verify_code in _WITH_TIME)
        if isinstance(error, ssl.SSLError):
            return _of_reason(error.reason or "")
        if isinstance(error, ConnectionError) and _REJECTED in str(error):
            return TlsTrouble(_NO_TLS)
        error = error.__cause__
    return None


def _of_reason(reason: str) -> TlsTrouble:
    for word, sentence in (_OF_OURS | _OF_FILES).items():
        if reason.endswith(word):
            return TlsTrouble(sentence, may_pass=word in _WITH_TIME)
    if not reason or reason in _OF_PEM:
        return TlsTrouble(_UNREADABLE)
    return TlsTrouble(f"PostgreSQL and thumbq do not agree on TLS: {reason.lower().replace('_', ' ')}.")
