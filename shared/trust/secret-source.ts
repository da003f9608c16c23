/** Asks somebody for a passphrase or PIN; `what` says which. */
export type SecretSource = (what: string) => Promise<Buffer>;
