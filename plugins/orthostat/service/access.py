"""Who may ask for what: bearer tokens with their prefixes and digests, within the allow-list."""

import hashlib
import hmac
import logging
import re
from dataclasses import dataclass
from pathlib import Path

from orthostat.errors import ConfigurationError, OutageError, RefusedError
from orthostat.pipelines.allow import AllowList, is_below
from orthostat.service.problems import ProblemError
from orthostat.service.request import PredictionRequest

log = logging.getLogger(__name__)

_DIGEST = re.compile(r"(sha256:)?([0-9a-fA-F]{64})")
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="orthostat"'}


@dataclass(frozen=True)
class Caller:
    """Somebody who asks."""

    name: str
    """The beginning of the token's hash; `anyone` where there are no tokens."""
    allowed: AllowList
    """What this token may ask for."""


@dataclass(frozen=True)
class _Token:
    sha256: str
    caller: Caller


class Access:
    """The tokens and the allow-list of a service."""

    def __init__(self, allowed: AllowList, tokens_path: Path | None = None):
        """Raises ConfigurationError when the file cannot be read, or says what is no token."""
        self._allowed = allowed
        self._path = tokens_path
        self._tokens: tuple[_Token, ...] = ()
        self._read_at = 0
        if tokens_path is not None:
            self._refresh()

    def identify(self, authorization: str | None) -> Caller:
        """Who sends this header. Raises ProblemError (401) when nobody does whom the service knows."""
        if self._path is None:
            return Caller("anyone", AllowList())
        try:
            self._refresh()
        except ConfigurationError as error:
            log.error("nobody is let in: %s", error)
            raise ProblemError(503, "the service's tokens cannot be read now; ask again later") from error
        scheme, _, given = (authorization or "").partition(" ")
        digest = hashlib.sha256(given.strip().encode("utf-8", "replace")).hexdigest()
        found = None
        for token in self._tokens:  # each is compared, so that the time tells nothing
            if hmac.compare_digest(token.sha256, digest):
                found = token
        if found is None or scheme.lower() != "bearer":
            told = "is unknown" if given else "is missing"
            detail = f"the bearer token {told}; send the header Authorization: Bearer TOKEN"
            raise ProblemError(401, detail, headers=_CHALLENGE)
        return found.caller

    def caller_named(self, name: str) -> Caller:
        """A caller as it is now. Raises ProblemError (403) when there is no such token any more.

        Raises OutageError while the tokens cannot be read: what was accepted waits until they can.
        """
        if self._path is None:
            return Caller("anyone", AllowList())
        try:
            self._refresh()
        except ConfigurationError as error:
            raise OutageError(str(error)) from error
        for token in self._tokens:
            if token.caller.name == name:
                return token.caller
        raise ProblemError(403, "the token that asked for the job is no longer known")

    def require(self, caller: Caller, request: PredictionRequest) -> str:
        """The digest of the bundle, when all that is asked for is allowed.

        Raises RefusedError when it is not, ProblemError (422) when no digest is given and the list knows
        none.
        """
        sha256 = request.sha256 or self._allowed.sha256_of(request.model)
        if sha256 is None:
            raise ProblemError(
                422,
                f"sha256 is missing, and the allow-list does not know the model {request.model}; give the "
                "digest of the bundle (sha256sum bundle.zip)",
            )
        for allowed in (self._allowed, caller.allowed):
            allowed.require_image(request.image)
            allowed.require_output(request.output)
            allowed.require_bundle(request.model, sha256)
            prefixes = allowed.images
            if not allowed.names_bundles and prefixes is not None and not is_below(request.model, prefixes):
                raise RefusedError(
                    f"the model {request.model} lies below none of the allowed prefixes, and no digests are "
                    "allowed by name; give one that does"
                )
        return sha256.lower()

    def _refresh(self) -> None:
        """Read the file again when it has changed, as a mounted Secret does."""
        assert self._path is not None
        try:
            changed = self._path.stat().st_mtime_ns
            if changed == self._read_at:
                return
            self._tokens = tuple(_parse(self._path.read_text()))
            self._read_at = changed
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"the tokens in {self._path} cannot be read ({error}); give a file with a line per token: "
                "the token or its SHA-256, then its prefixes and digests"
            ) from error


def _parse(text: str) -> list[_Token]:
    """Raises ValueError, without telling a token."""
    tokens = []
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split("#")[0].split()
        if not words:
            continue
        given, *rights = words
        match = _DIGEST.fullmatch(given)
        digest = match[2].lower() if match else hashlib.sha256(given.encode()).hexdigest()
        prefixes = tuple(word for word in rights if word.startswith("s3://"))
        digests = tuple(word.lower() for word in rights if _DIGEST.fullmatch(word))
        if len(prefixes) + len(digests) != len(rights):
            raise ValueError(f"line {number} has rights that are neither s3:// prefixes nor SHA-256 digests")
        allowed = AllowList(images=prefixes or None, outputs=prefixes or None, digests=digests or None)
        tokens.append(_Token(digest, Caller(digest[:12], allowed)))
    if not tokens:
        raise ValueError("it holds no token")
    return tokens
