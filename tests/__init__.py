"""The tests of pyroipc; docs/project/development.md says how they are laid out."""
