import { readFile } from 'node:fs/promises';
import { text as readAll } from 'node:stream/consumers';
import { AgentConfig, parseAddress } from '../agent/config.ts';
import { enrol, readTicket, type Ticket } from '../agent/enrol/enrol.ts';
import { hasLeaf, loadRoot } from '../certs/credentials.ts';
import { requestPem } from '../certs/request.ts';
import { systemClock } from '../shared/base/clock.ts';
import { loadConfig } from '../shared/base/config.ts';
import { WardcastError } from '../shared/base/errors.ts';
import { type Identity, identityPath } from '../shared/base/identity.ts';
import { silentLog } from '../shared/base/log.ts';
import { createBonjourDiscovery } from '../shared/net/bonjour.ts';
import { installLeaf, nextKey } from '../shared/net/enrol/leaf-folder.ts';
import { writeDurably } from '../shared/store/durable-file.ts';
import { argument, type Call, id, usage } from './command.ts';

/** `wardcast agent enrol`: a person at the device waits for it. */
export async function enrolDevice({ options, output, signal }: Call): Promise<undefined> {
  const config = await loadConfig(options.needed('config', '--config'), AgentConfig);
  const device = id(options.text('device') ?? config.enrol?.device ?? options.needed('device', '--device'), 'device');
  if (await hasLeaf(config.credentials)) {
    throw new WardcastError('CONFLICT', `${config.credentials} holds a certificate already`, {
      remedy: 'It is renewed by itself. To enrol anew, move key.pem, chain.pem and leaf.pem away, and have ops release the id.',
    });
  }
  const ticket = await ticketFor(options.text('tokenFile'), config);
  const discovery = createBonjourDiscovery({ interface: config.lan.interface ?? config.lan.host, log: silentLog, clock: systemClock });
  try {
    const { address } = config.gateway;
    const waiting = enrol(
      {
        ...{ directory: config.credentials, device, ticket, persistent: false, clock: systemClock, log: silentLog, random: Math.random },
        fixed: address === undefined ? undefined : parseAddress(address),
        browse: (browsing) => discovery.browse('gateway', { signal: browsing }),
        onPending: (key) => output.note(`waits for approval: wardcast enrol approve CUSTOMER ${device} --key ${key.slice(0, 16)}`),
      },
      signal,
    );
    const credentials = await output.patiently('Asking the gateway', waiting);
    const identity = identityPath(credentials.identity);
    const expires = credentials.expires.toISOString();
    output.result({ identity, expires }, () => output.line(`${identity}: certificate in ${config.credentials}, valid until ${expires.slice(0, 10)}`));
  } finally {
    await discovery.close();
  }
}

/** `wardcast agent request`: the same key until a certificate for it came. Also for the next certificate of a device that never sees a line. */
export async function requestOffline({ options, output }: Call): Promise<undefined> {
  const config = await loadConfig(options.needed('config', '--config'), AgentConfig);
  const out = options.needed('out', '--out');
  const next = await nextKey(config.credentials, config.enrol?.device ?? 'device');
  await writeDurably(out, requestPem(next.request));
  output.result({ out, key: next.key }, () => {
    output.line(`request for key ${next.key.slice(0, 16)} in ${out}`);
    output.line('There: wardcast pki sign-request CUSTOMER SITE GROUP DEVICE --request FILE --out chain.pem');
  });
}

/** `wardcast agent accept-credentials` */
export async function acceptOffline(call: Call): Promise<undefined> {
  const { options, output } = call;
  const config = await loadConfig(options.needed('config', '--config'), AgentConfig);
  const directory = config.credentials;
  const chainPem = await readFile(argument(call, 0, 'the chain'), 'utf8');
  const rootPem = await loadRoot(directory);
  const next = await nextKey(directory, 'device');
  const wanted = config.enrol?.device;
  const accept = (identity: Identity): boolean => identity.role === 'device' && (wanted === undefined || identity.device === wanted);
  const credentials = await installLeaf(directory, { next, chainPem, rootPem, accept });
  const identity = identityPath(credentials.identity);
  const expires = credentials.expires.toISOString();
  output.result({ identity, expires }, () => output.line(`${identity}: certificate in ${directory}, valid until ${expires.slice(0, 10)}`));
}

async function ticketFor(file: string | undefined, config: AgentConfig): Promise<Ticket> {
  if (file === '-') return { kind: 'code', text: await readAll(process.stdin) };
  const ticket = await readTicket({ tokenFile: file ?? config.enrol?.token_file, claim: file === undefined ? config.enrol?.claim : undefined }, systemClock);
  if (ticket !== undefined) return ticket;
  if (!process.stdin.isTTY) throw usage('There is no code to enrol with', 'Give it on standard input with `--token-file -`, or in a file.');
  const { createInterface } = await import('node:readline/promises');
  const prompt = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return { kind: 'code', text: await prompt.question('Enrolment code: ') };
  } finally {
    prompt.close();
  }
}
