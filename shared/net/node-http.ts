import type http from 'node:http';

/**
 * node:http, asked for by name instead of imported: an import reads all its exports, among them the getters of WebSocket and fetch, which load
 * undici and http2 into a daemon that uses neither: 10 MiB.
 */
export const nodeHttp: typeof http = process.getBuiltinModule('node:http');
