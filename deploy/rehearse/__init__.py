"""The image and the manifests, tried out on this machine against the simulator: `python -m deploy.rehearse --help`.

smoke   the built image does its main job, drains when it is told to stop, and says what is wrong where something is
drill   Friday's run: evicted, killed, without a provider for a while, out of money, and finished all the same
"""
