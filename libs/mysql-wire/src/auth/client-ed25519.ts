/**
 * MariaDB's signature over a scramble of 32 bytes. A proxy cannot make one without the password, and from one it learns nothing it
 * could use elsewhere: it hands the backend's scramble to the client and the reply back, and the session cannot log in again.
 */
export const clientEd25519 = 'client_ed25519';
export const ed25519ScrambleBytes = 32;
export const ed25519ReplyBytes = 64;
