"""Why a proxy does not reach its object, or finds none: what ``pyroipc doctor`` looks at.

An examination goes the way of a proxy, step by step, and notes at each what it found and what can
be done about it:

==================  ============================================================================
module              what it looks at
==================  ============================================================================
``findings``        what was found, and the exit status that follows
``places``          the host and its addresses, or the file of a unix socket; who can be reached
``strangers``       what speaks at an address, if it is no daemon that talks to us
``certificates``    the certificate of a server, also of one that is not trusted here
``conversation``    TLS, HMAC and the hello: how a conversation is opened, or why it is not
``daemons``         what the daemon says, what does not fit, how long an answer takes, the object
``surroundings``    without a URI: this machine's name and networks, and where a name server is
``registrations``   without a URI: whether what the name server knows can be called
``examination``     the steps, one after the other
==================  ============================================================================

Connections are made, encrypted and spoken on by the same code that a proxy uses. Only what is no
daemon of ours is listened to by hand. Everything waits at most until one deadline, whatever the
other end does, and what it says is shown without control characters and cut to a sane length.
"""
