"""`python -m tunemill.local`"""

import sys

from tunemill.local import main

sys.exit(main(sys.argv[1:]))
