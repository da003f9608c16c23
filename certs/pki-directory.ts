import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { systemCode, WardcastError } from '../shared/base/errors.ts';
import { type DeviceIdentity, type Identity, identityPath, parseSpiffeId } from '../shared/base/identity.ts';
import { MAX_CA_GENERATION } from '../shared/base/limits.ts';
import { type Authority, checkId, createCustomerCa, createGroupCa, createOpsCa, createProviderCa, createRootCa, type Validity } from './authority.ts';
import { CREDENTIAL_FILES } from './credentials.ts';
import { conflict, writeFolder, writeNewFile } from './folder.ts';
import { type CertifiedLeaf, certifyLeaf, issueLeaf } from './issue.ts';
import { ISSUER_FILES, issuerFolder } from './issuers.ts';
import { readRequest, readRequestPem } from './request.ts';
import type { CaScope } from './scope.ts';

/**
 * The folder with the private keys of all CAs. It belongs on a machine without a network.
 *
 *   root/                        key.pem cert.pem
 *   provider/ ops/               key.pem cert.pem
 *   customers/<c>/ca/            key.pem cert.pem
 *   customers/<c>/groups/<g>/    key.pem cert.pem
 *   customers/<c>/groups/<g>/<n>/    key.pem cert.pem, from n = 2: the CA of a group that was re-keyed
 *   issued/<identity path>/<serial>/cert.pem    every leaf ever issued, without its key
 *
 * No CA is ever made on the way to something else: a slip in a customer's name must not found a customer.
 */
export const CA_FILES = { key: 'key.pem', certificate: 'cert.pem' } as const;

const READABLE = 'See that this user may read the PKI folder.';

interface Pki {
  readonly directory: string;
}

export interface Issued {
  readonly identity: Identity;
  readonly out: string;
  readonly expires: Date;
}

/** Root CA, provider CA and ops CA. @throws USAGE, CONFLICT, STORAGE_FAILED */
export async function createPki(o: Pki & { readonly trustDomain: string } & Validity): Promise<void> {
  await refuseUsed(caFolder(o.directory, { kind: 'root' }), 'A root CA');
  const root = await createRootCa(o);
  const [provider, ops] = await Promise.all([createProviderCa(root, o), createOpsCa(root, o)]);
  // The root last: a power cut before it leaves a folder that says there is no PKI yet, and CONFLICT names what is left over.
  await writeCa(o.directory, provider);
  await writeCa(o.directory, ops);
  await writeCa(o.directory, root);
}

/** @throws USAGE, NOT_FOUND without a PKI, CONFLICT, STORAGE_FAILED */
export async function addCustomer(o: Pki & { readonly customer: string } & Validity): Promise<void> {
  await refuseUsed(caFolder(o.directory, { kind: 'customer', customer: checkId('customer', o.customer) }), `The CA of customer ${o.customer}`);
  const root = await readCa(o.directory, { kind: 'root' });
  await writeCa(o.directory, await createCustomerCa(root, o));
}

/** @throws USAGE, NOT_FOUND without the customer, CONFLICT, STORAGE_FAILED */
export async function addGroup(o: Pki & { readonly customer: string; readonly group: string } & Validity): Promise<void> {
  const scope: CaScope = { kind: 'group', customer: checkId('customer', o.customer), group: checkId('group', o.group) };
  await refuseUsed(caFolder(o.directory, scope), `The CA of group ${o.group} of customer ${o.customer}`);
  const customer = await readCa(o.directory, { kind: 'customer', customer: o.customer });
  await writeCa(o.directory, await createGroupCa(customer, o));
}

/**
 * The next CA of a group, beside those before it: devices get their certificates from it from now on, and the old ones stay good until the provider is told
 * `wardcast group retire-ca`.
 * @throws USAGE, NOT_FOUND without the group, LIMIT_EXCEEDED, CONFLICT when somebody else re-keys it right now, STORAGE_FAILED
 */
export async function rekeyGroup(o: Pki & { readonly customer: string; readonly group: string } & Validity): Promise<{ readonly generation: number }> {
  const scope = { kind: 'group', customer: checkId('customer', o.customer), group: checkId('group', o.group) } as const;
  await readCa(o.directory, scope);
  const generation = (await newestGeneration(o.directory, scope)) + 1;
  if (generation > MAX_CA_GENERATION) throw new WardcastError('LIMIT_EXCEEDED', `A group has at most ${MAX_CA_GENERATION} CAs one after the other`);
  const customer = await readCa(o.directory, { kind: 'customer', customer: o.customer });
  await writeCa(o.directory, await createGroupCa(customer, { ...o, generation }));
  return { generation };
}

/** 1 when the group was never re-keyed, or does not exist: whoever reads its CA finds out. */
async function newestGeneration(directory: string, { customer, group }: { readonly customer: string; readonly group: string }): Promise<number> {
  try {
    const names = await readdir(caFolder(directory, { kind: 'group', customer, group }));
    return Math.max(1, ...names.filter((name) => /^[1-9]\d{0,2}$/.test(name)).map(Number));
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return 1;
    throw new WardcastError('STORAGE_FAILED', `The CAs of group ${group} cannot be read: ${systemCode(error) ?? String(error)}`, {
      remedy: READABLE,
      cause: error,
    });
  }
}

interface LeafOptions extends Pki, Validity {
  /** The credentials folder to make: key.pem (0600), chain.pem, root.pem. Must not exist or be empty. */
  readonly out: string;
}

interface Names {
  readonly dnsNames?: readonly string[] | undefined;
  readonly ips?: readonly string[] | undefined;
}

/** @throws USAGE, NOT_FOUND, CONFLICT, STORAGE_FAILED – as all that follow */
export async function issueProvider(o: LeafOptions & Names & { readonly name: string }): Promise<Issued> {
  return issue(o, { role: 'provider', name: checkId('provider', o.name) }, { kind: 'provider' }, o);
}

export async function issueOps(o: LeafOptions & { readonly name: string }): Promise<Issued> {
  return issue(o, { role: 'ops', name: checkId('ops', o.name) }, { kind: 'ops' });
}

export async function issueGateway(o: LeafOptions & Names & { readonly customer: string; readonly site: string; readonly gateway: string }): Promise<Issued> {
  const { customer, site, gateway } = o;
  checkId('customer', customer);
  return issue(o, { role: 'gateway', customer, site, gateway }, { kind: 'customer', customer }, o);
}

export async function issueDevice(
  o: LeafOptions & { readonly customer: string; readonly site: string; readonly group: string; readonly device: string },
): Promise<Issued> {
  const { customer, site, group, device } = o;
  checkId('customer', customer);
  checkId('group', group);
  const generation = await newestGeneration(o.directory, { customer, group });
  return issue(o, { role: 'device', customer, site, group, device }, { kind: 'group', customer, group, generation });
}

/** What is shipped with all devices of a group, so that they may ask for a certificate of their own. */
export async function issueClaim(o: LeafOptions & { readonly customer: string; readonly group: string; readonly claim: string }): Promise<Issued> {
  const { customer, group, claim } = o;
  checkId('customer', customer);
  checkId('group', group);
  const generation = await newestGeneration(o.directory, { customer, group });
  return issue(o, { role: 'claim', customer, group, claim: checkId('claim', claim) }, { kind: 'group', customer, group, generation });
}

/**
 * Copies a CA with its key into a folder for the provider, which can then certify that group's devices online; without a group the customer's CA, for
 * its gateways. @returns the folder
 */
export async function exportIssuer(o: Pki & { readonly customer: string; readonly group?: string | undefined; readonly out: string }): Promise<string> {
  const { customer, group } = o;
  checkId('customer', customer);
  const scope: CaScope =
    group === undefined
      ? { kind: 'customer', customer }
      : { kind: 'group', customer, group: checkId('group', group), generation: await newestGeneration(o.directory, { customer, group }) };
  const ca = await readCa(o.directory, scope);
  const folder = join(o.out, issuerFolder(scope));
  await writeFolder(folder, { [ISSUER_FILES.key]: { text: ca.keyPem, secret: true }, [ISSUER_FILES.chain]: { text: ca.chainPem } }, 'An issuing authority');
  return folder;
}

/**
 * Certifies the key of a certification request that was carried here: the file made holds certificates alone.
 * @param o.request PEM @param o.out a file that must not be there yet
 * @throws CERT_INVALID for a request that proves nothing, and as issueDevice
 */
export async function signRequest(o: Pki & Validity & { readonly identity: DeviceIdentity; readonly request: string; readonly out: string }): Promise<Issued> {
  const { identity } = o;
  checkId('customer', identity.customer);
  checkId('group', identity.group);
  const { publicKey } = readRequest(readRequestPem(o.request));
  const { customer, group } = identity;
  const generation = await newestGeneration(o.directory, { customer, group });
  const issuer = await readCa(o.directory, { kind: 'group', customer, group, generation });
  const leaf = certifyLeaf({ issuer, identity, notBefore: o.notBefore, notAfter: o.notAfter }, publicKey);
  await record(o.directory, identity, leaf);
  await writeNewFile(o.out, leaf.chainPem);
  return { identity, out: o.out, expires: leaf.notAfter };
}

async function issue(o: LeafOptions, identity: Identity, scope: CaScope, names: Names = {}): Promise<Issued> {
  await refuseUsed(o.out, 'A credentials folder');
  const issuer = await readCa(o.directory, scope);
  const { dnsNames, ips } = names;
  const leaf = await issueLeaf({ issuer, identity, dnsNames, ips, notBefore: o.notBefore, notAfter: o.notAfter });
  // On record first: no certificate is in use that the PKI does not know of.
  await record(o.directory, identity, leaf);
  await writeFolder(
    o.out,
    {
      [CREDENTIAL_FILES.key]: { text: leaf.keyPem, secret: true },
      [CREDENTIAL_FILES.chain]: { text: leaf.chainPem },
      [CREDENTIAL_FILES.root]: { text: leaf.rootPem },
    },
    'A credentials folder',
  );
  return { identity, out: o.out, expires: leaf.notAfter };
}

function record(directory: string, identity: Identity, leaf: CertifiedLeaf): Promise<void> {
  const serial = new X509Certificate(leaf.certificatePem).serialNumber.toLowerCase();
  return writeFolder(join(directory, 'issued', identityPath(identity), serial), { [CA_FILES.certificate]: { text: leaf.certificatePem } }, 'A certificate');
}

/** Where a CA lives. Ids must have been checked: they become folder names. */
export function caFolder(directory: string, scope: CaScope): string {
  switch (scope.kind) {
    case 'root':
    case 'provider':
    case 'ops':
      return join(directory, scope.kind);
    case 'customer':
      return join(directory, 'customers', scope.customer, 'ca');
    case 'group':
      return join(directory, 'customers', scope.customer, 'groups', scope.group, ...((scope.generation ?? 1) === 1 ? [] : [String(scope.generation)]));
  }
}

function writeCa(directory: string, ca: Authority): Promise<void> {
  const files = { [CA_FILES.key]: { text: ca.keyPem, secret: true }, [CA_FILES.certificate]: { text: ca.certificatePem } };
  return writeFolder(caFolder(directory, ca.scope), files, `The ${ca.scope.kind} CA`);
}

async function readCa(directory: string, scope: CaScope): Promise<Authority> {
  const folder = caFolder(directory, scope);
  const certificatePem = await readPem(join(folder, CA_FILES.certificate), scope, directory);
  const keyPem = await readPem(join(folder, CA_FILES.key), scope, directory);
  const parent = await readParent(directory, scope);
  const certificate = new X509Certificate(certificatePem);
  const key = createPrivateKey(keyPem);
  if (!certificate.checkPrivateKey(key)) {
    throw new WardcastError('CERT_KEY_MISMATCH', `${folder}: key and certificate do not belong together`, {
      remedy: 'Restore the folder from your backup of the PKI.',
    });
  }
  const rootPem = parent?.rootPem ?? certificatePem;
  return {
    scope,
    trustDomain: trustDomainOf(rootPem),
    certificatePem,
    key,
    keyPem,
    chainPem: parent === undefined ? '' : certificatePem + parent.chainPem,
    rootPem,
    notAfter: certificate.validToDate,
  };
}

function readParent(directory: string, scope: CaScope): Promise<Authority> | undefined {
  if (scope.kind === 'root') return undefined;
  return readCa(directory, scope.kind === 'group' ? { kind: 'customer', customer: scope.customer } : { kind: 'root' });
}

/** The root names the trust domain in its URI. */
function trustDomainOf(rootPem: string): string {
  const uri = /URI:(spiffe:\/\/[^/,\s"]+)/.exec(new X509Certificate(rootPem).subjectAltName ?? '')?.[1] ?? '';
  return parseSpiffeId(`${uri}/ops/probe`).trustDomain;
}

async function readPem(file: string, scope: CaScope, directory: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if (systemCode(error) !== 'ENOENT')
      throw new WardcastError('STORAGE_FAILED', `${file} cannot be read: ${systemCode(error) ?? String(error)}`, { remedy: READABLE, cause: error });
    throw new WardcastError('NOT_FOUND', `${directory} has no ${describe(scope)}: ${file} is missing`, { remedy: remedyFor(scope), cause: error });
  }
}

function describe(scope: CaScope): string {
  if (scope.kind === 'customer') return `customer ${scope.customer}`;
  if (scope.kind === 'group') return `group ${scope.group} of customer ${scope.customer}`;
  return `${scope.kind} CA`;
}

function remedyFor(scope: CaScope): string {
  if (scope.kind === 'customer') return 'Add the customer first, or check the spelling: `wardcast pki list` shows what there is.';
  if (scope.kind === 'group') return 'Add the group first, or check the spelling: `wardcast pki list` shows what there is.';
  return 'Create the PKI first, or name the right folder.';
}

async function refuseUsed(folder: string, what: string): Promise<void> {
  try {
    if ((await readdir(folder)).length === 0) return;
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return;
    if (systemCode(error) !== 'ENOTDIR')
      throw new WardcastError('STORAGE_FAILED', `${folder} cannot be read: ${systemCode(error) ?? String(error)}`, { remedy: READABLE, cause: error });
  }
  throw conflict(folder, what);
}
