"""The Pod Security Standard *restricted*: https://kubernetes.io/docs/concepts/security/pod-security-standards/."""

from collections.abc import Iterator

from chart_rendering import containers

VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
SELINUX = {"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
PROFILES = {"RuntimeDefault", "Localhost"}


def violations(pod: dict) -> list[str]:
    """Return what a pod's spec breaks of the standard, baseline included."""
    own = pod.get("securityContext", {})
    return [*_of_pod(pod, own), *(f"{each['name']}: {what}" for each in containers(pod) for what in _of(each, own))]


def _of_pod(pod: dict, own: dict) -> Iterator[str]:
    yield from (f"{key} is set" for key in ("hostNetwork", "hostPID", "hostIPC") if pod.get(key))
    for volume in pod.get("volumes", []):
        if not set(volume) - {"name"} <= VOLUMES:
            yield f"volume {volume['name']} is of a kind that is not allowed"
    if own.get("sysctls"):
        yield "sysctls are set"
    if own.get("runAsUser") == 0:
        yield "runAsUser is root"
    yield from _of_profiles(own)


def _of(container: dict, pod: dict) -> Iterator[str]:
    own = container.get("securityContext", {})
    if own.get("privileged"):
        yield "is privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "may gain privileges"
    capabilities = own.get("capabilities", {})
    if "ALL" not in capabilities.get("drop", []) or not set(capabilities.get("add", [])) <= {"NET_BIND_SERVICE"}:
        yield "has capabilities"
    if (own | {"runAsNonRoot": own.get("runAsNonRoot", pod.get("runAsNonRoot"))})["runAsNonRoot"] is not True:
        yield "runAsNonRoot is not set"
    if own.get("runAsUser", pod.get("runAsUser")) == 0:
        yield "runAsUser is root"
    if own.get("seccompProfile", pod.get("seccompProfile", {})).get("type") not in PROFILES:
        yield "has no seccomp profile"
    if own.get("procMount", "Default") != "Default":
        yield "has a procMount"
    if any(port.get("hostPort") for port in container.get("ports", [])):
        yield "has a port of the host"
    yield from _of_profiles(own)
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        if any(how.get("host") for how in container.get(probe, {}).values() if isinstance(how, dict)):
            yield f"{probe} asks another host"
    for hook in container.get("lifecycle", {}).values():
        if any(how.get("host") for how in hook.values()):
            yield "a hook asks another host"


def _of_profiles(own: dict) -> Iterator[str]:
    if own.get("windowsOptions", {}).get("hostProcess"):
        yield "is a process of the host"
    if own.get("appArmorProfile", {}).get("type", "RuntimeDefault") not in PROFILES:
        yield "has no AppArmor profile"
    linux = own.get("seLinuxOptions", {})
    if linux.get("type", "") not in SELINUX or linux.get("user") or linux.get("role"):
        yield "has an SELinux context of its own"
