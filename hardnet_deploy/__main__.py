"""``python -m hardnet_deploy`` is ``hardnet-deploy``."""

from hardnet_deploy.cli.main import main

if __name__ == "__main__":
    main()
