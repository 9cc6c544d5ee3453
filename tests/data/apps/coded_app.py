"""An app without hooks: services made in code, booted by one call. Run as a script: bootstrap, abootstrap or launcher."""

import asyncio
import sys

from eggycore import Config, Launcher, abootstrap, bootstrap, log


class Ticker:
    async def start(self):
        log.info("opened", what="ticker")

    async def stop(self):
        log.info("closed", what="ticker")


class Store:
    async def init(self):
        log.info("opened", what="store")

    async def close(self):
        log.info("closed", what="store")


if __name__ == "__main__":
    how = sys.argv[1]
    cfg = Config(service_name="coded", health_check_port=0, bind_host="127.0.0.1", log_format="json")
    if how == "bootstrap":
        sys.exit(bootstrap(cfg, Ticker()))
    if how == "abootstrap":
        sys.exit(asyncio.run(abootstrap(cfg, Ticker())))
    log.init("info", "json")
    launcher = Launcher()
    launcher.add_initializer(Store())
    launcher.add_service(Ticker())
    launcher.set_shutdown_timeout(5)
    sys.exit(launcher.run())
