"""A session with Kubeflow's API; whatever it refuses, or that it does not answer, is told in one line."""

import contextlib
import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

from kfp.client import KF_PIPELINES_SA_TOKEN_PATH, Client, ServiceAccountTokenVolumeCredentials
from kfp_server_api import ApiException
from urllib3.exceptions import HTTPError

from ml.errors import ContractError
from ml.settings import settings

SEE = "See [kubeflow] in project.toml"
FORWARD = "kubectl port-forward -n kubeflow svc/ml-pipeline-ui 8080:80"


@contextlib.contextmanager
def session() -> Iterator[Client]:
    """Yield a client of the Kubeflow that the settings name; raises ContractError where it refuses or is not there."""
    conf = settings().kubeflow
    if not conf.host:
        mend = f"Set [kubeflow] host in project.toml: http://localhost:8080 with `{FORWARD}`"
        raise ContractError("kubeflow", "no host is named", mend)
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield Client(conf.host, namespace=conf.namespace or "kubeflow", credentials=_credentials(conf.token))
    except ApiException as error:
        raise ContractError("kubeflow", f"{conf.host} refuses: {_told(error)}", SEE) from error
    except (HTTPError, TimeoutError) as error:
        mend = f"Start it, or `{FORWARD}`; [kubeflow] host in project.toml says where it is"
        raise ContractError("kubeflow", f"{conf.host} does not answer", mend) from error
    finally:
        logging.disable(logging.NOTSET)


def _credentials(file: str) -> ServiceAccountTokenVolumeCredentials | None:
    """Return the token by the file that holds it, which is read for each request: tokens are renewed there."""
    if file and not Path(file).is_file():
        raise ContractError("kubeflow", f"there is no token in {file}", SEE)
    path = file or KF_PIPELINES_SA_TOKEN_PATH
    return ServiceAccountTokenVolumeCredentials(path) if Path(path).is_file() else None


def _told(error: ApiException) -> str:
    try:
        said = json.loads(error.body)
        told = str(said.get("message") or said.get("error"))
    except (TypeError, ValueError, AttributeError):
        told = str(error.reason)
    return f"{error.status}, {' '.join(told.split())[:300].rstrip('.')}"
