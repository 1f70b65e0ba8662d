"""The part of SciPy that this project uses: SciPy has no types, and guessing them takes a checker half a minute."""
