# What the scripts beside this one need of an engine. To be sourced; ENGINE names it once `engine_here` has found it.

# Without an engine, and often inside a container itself, this is what works: no user namespaces, no overlay file system.
export BUILDAH_ISOLATION=${BUILDAH_ISOLATION:-chroot}
export BUILDAH=${BUILDAH:-buildah --storage-driver vfs}

# Layers that are kept apart are fetched apart; where each of them is a whole copy of all below it, one has to do.
case $BUILDAH in *vfs*) LAYERS=() ;; *) LAYERS=(--layers) ;; esac

engine_here() {
    local engine
    for engine in ${ENGINE:-docker podman buildah}; do
        if engine_works "$engine"; then echo "$engine"; return; fi
    done
    case ${ENGINE:-} in
        "") echo "None of docker, podman and buildah works here. Debian has podman, and buildah, which needs no service" >&2 ;;
        docker | podman | buildah) echo "$ENGINE does not work here (or its service does not run); without ENGINE the first that does is taken" >&2 ;;
    esac
    return 1
}

engine_works() {
    case $1 in
        docker | podman) command -v "$1" >/dev/null && timeout 20 "$1" info >/dev/null 2>&1 ;;
        buildah) command -v "${BUILDAH%% *}" >/dev/null ;;
        *) echo "ENGINE = $1: choose docker, podman or buildah" >&2; return 1 ;;
    esac
}

has_image() {
    case $ENGINE in
        buildah) $BUILDAH inspect --type image "$1" ;;
        *) "$ENGINE" image inspect "$1" ;;
    esac >/dev/null 2>&1
}

pull() {
    case $ENGINE in
        buildah) timeout 300 $BUILDAH pull --quiet "docker.io/library/$1" && $BUILDAH tag "docker.io/library/$1" "$1" ;;
        *) timeout 300 "$ENGINE" pull --quiet "$1" ;;
    esac >/dev/null 2>&1
}

# The docker format, because the other one has no room for a health check.
engine_build() {
    case $ENGINE in
        docker) DOCKER_BUILDKIT=1 docker build "$@" ;;
        podman) podman build --format docker "$@" ;;
        buildah) $BUILDAH build --format docker --network host "${LAYERS[@]}" "$@" ;;
    esac
}

# The sum of the layers, unpacked, as engines count it.
image_size() {
    local bytes
    case $ENGINE in
        buildah) bytes=$($BUILDAH images --json | "${PYTHON:-python3}" -c '
import json, sys
wanted = sys.argv[1]
for image in json.load(sys.stdin):
    called = {name.removeprefix("localhost/").removesuffix(":latest") for name in image["names"] or ()}
    if wanted.removeprefix("localhost/").removesuffix(":latest") in called:
        print(image.get("size", "unknown"))
        break' "$1") ;;
        *) bytes=$("$ENGINE" image inspect --format '{{.Size}}' "$1") ;;
    esac
    case $bytes in
        *[!0-9]* | "") echo "$bytes" ;;  # with its unit already
        *) echo "$((bytes / 1000000)) MB" ;;
    esac
}
