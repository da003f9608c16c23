/**
 * Imports point one way: base ← bundle ← {trust, wire, store} ← net ← roles ← main.
 * certs stands on base; net may ask certs for identities. test/architecture plants forbidden imports and expects the refusal.
 */
const role = (name, others) => ({
  name: `${name}-knows-no-other-role`,
  comment: 'Roles talk over the wire, never by import.',
  severity: 'error',
  from: { path: `^${name}/` },
  to: { path: `^(${others.join('|')})/` },
});

const only = (from, allowed) => ({
  name: `${from.replaceAll('/', '-')}-imports-only-downwards`,
  comment: `${from} may import: itself${allowed.map((a) => `, ${a}`).join('')}.`,
  severity: 'error',
  from: { path: `^${from}/` },
  to: { path: '^(shared|certs|agent|gateway|provider|cli|console|test|bench)/', pathNot: [from, ...allowed].map((a) => `^${a}/`) },
});

module.exports = {
  forbidden: [
    only('shared/base', []),
    only('shared/bundle', ['shared/base']),
    only('shared/delta', ['shared/base', 'shared/bundle']),
    only('shared/trust', ['shared/base', 'shared/bundle', 'shared/store']),
    only('shared/wire', ['shared/base', 'shared/bundle']),
    only('shared/store', ['shared/base', 'shared/bundle']),
    only('certs', ['shared/base', 'shared/wire']),
    only('shared/net', ['shared/base', 'shared/bundle', 'shared/trust', 'shared/wire', 'shared/store', 'certs']),
    role('provider', ['gateway', 'agent', 'cli', 'test', 'bench']),
    role('gateway', ['provider', 'agent', 'cli', 'test', 'bench']),
    role('agent', ['provider', 'gateway', 'cli', 'test', 'bench']),
    {
      name: 'nobody-imports-a-main',
      comment: 'A main.ts is a process of its own: start it, do not import it.',
      severity: 'error',
      from: {},
      to: { path: '^(provider|gateway|agent)/main\\.ts$' },
    },
    {
      name: 'cli-imports-no-test',
      severity: 'error',
      from: { path: '^cli/' },
      to: { path: '^(test|bench)/' },
    },
    {
      name: 'mqtt-and-mdns-only-in-net',
      comment: "shared/net is the only place for mqtt, aedes and bonjour-service; the demo's thief brings a stock MQTT client of his own.",
      severity: 'error',
      from: { path: '^(shared|certs|agent|gateway|provider|cli)/', pathNot: '^(shared/net|cli/demo/thief)/' },
      to: { path: 'node_modules/(mqtt|mqtt-packet|aedes|bonjour-service|multicast-dns)/' },
    },
    {
      name: 'forge-only-in-certs',
      comment: 'node-forge issues certificates; nothing else uses it.',
      severity: 'error',
      from: { path: '^(shared|agent|gateway|provider|cli)/' },
      to: { path: 'node_modules/node-forge/' },
    },
    {
      name: 'trust-and-formats-know-no-network',
      severity: 'error',
      from: { path: '^shared/(base|bundle|trust|wire|store)/' },
      to: { dependencyTypes: ['core'], path: '^(node:)?(net|tls|http|https|dgram|http2)$' },
    },
    {
      name: 'formats-know-no-files',
      severity: 'error',
      from: { path: '^shared/(bundle|wire)/' },
      to: { dependencyTypes: ['core'], path: '^(node:)?(fs|fs/promises)$' },
    },
    { name: 'no-circles', severity: 'error', from: {}, to: { circular: true } },
    { name: 'no-unresolved', severity: 'error', from: {}, to: { couldNotResolve: true } },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '^(test/vectors|docs)/' },
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'require', 'node', 'default', 'types'] },
  },
};
