"""`python -m neftune_client`: the command line where its script is not on the path."""

from neftune_client.script import main

if __name__ == "__main__":
    main()
