"""What tests and actors share: witnesses, trees of programs, holders of fds, what the kernel is made to refuse."""
