"""Who may look: a bearer token, or the session that was begun with it, in a signed same-site cookie."""

from collections.abc import Mapping
from hmac import compare_digest
from urllib.parse import urlsplit

from flask import Request
from itsdangerous import BadSignature, TimestampSigner
from werkzeug.wrappers import Response

COOKIE = "roundbook_audit"
PATH = "/audit"


class Door:
    """Open to who knows one of the tokens, by role. Another token at a role ends its sessions."""

    def __init__(self, tokens: Mapping[str, str], *, hours: int = 8, https: bool = False) -> None:
        self._known = {role: token.encode() for role, token in tokens.items()}
        self._seconds, self._https = hours * 3600, https

    def role(self, token: str) -> str | None:
        """Returns whose token it is, in the same time whatever it is."""
        said = token.encode("utf-8", "replace")
        found = [role for role, known in self._known.items() if compare_digest(said, known)]
        return found[0] if found else None

    def admits(self, request: Request) -> bool:
        """Returns whether a request comes with a token, or with a session that is not over."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.casefold() == "bearer":
            return self.role(token.strip()) is not None
        role, _, _ = request.cookies.get(COOKIE, "").partition(".")
        return role in self._known and self._is_signed(request.cookies[COOKIE], role)

    def _is_signed(self, session: str, role: str) -> bool:
        try:
            self._signer(role).unsign(session, max_age=self._seconds)
        except BadSignature:
            return False
        return True

    def begin(self, response: Response, role: str) -> None:
        """Begins a session."""
        response.set_cookie(
            COOKIE,
            self._signer(role).sign(role).decode(),
            max_age=self._seconds,
            path=PATH,
            httponly=True,
            secure=self._https,
            samesite="Lax",  # a shared link from elsewhere opens, and nothing here can be written
        )

    def end(self, response: Response) -> None:
        """Ends the session of this browser."""
        response.delete_cookie(COOKIE, path=PATH, httponly=True, secure=self._https, samesite="Lax")

    def _signer(self, role: str) -> TimestampSigner:
        return TimestampSigner(self._known[role], salt="roundbook audit session")


def inside(target: str) -> str:
    """Returns where to go after the login: a page of ours, whatever was asked."""
    try:
        parts = urlsplit(target)
    except ValueError:
        return PATH
    ours = not parts.scheme and not parts.netloc and parts.path.startswith(PATH)
    return target if ours and "\\" not in target and target.isprintable() else PATH
