// SPDX-License-Identifier: GPL-3.0-or-later
// Passes on what the application publishes in Redis, to clients over WebSocket and server-sent events.

import { createServer } from 'node:http';
import { chmodSync } from 'node:fs';
import { join } from 'node:path';

import dotenv from 'dotenv';
import { WebSocketServer } from 'ws';

import { accountOf, blockedBetween, pool } from './database.js';
import { createMetrics } from './metrics.js';
import { SubscriptionHub } from './redis.js';
import { channelFor } from './channels.js';

if (process.env.NODE_ENV === 'production') {
  dotenv.config({ path: join(import.meta.dirname, '..', '.env.production') });
}

const PING_MS = 30_000;
const THUMP_MS = 15_000;
const log = (level, msg, extra = {}) => console.log(JSON.stringify({ level, time: Date.now(), msg, ...extra }));

process.on('uncaughtException', (error) => {
  log('error', `uncaught error, leaving: ${error.message}`);
  process.exit(0);
});
for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => process.exit(0));

const database = pool(process.env);
const metrics = createMetrics(database);
const hub = new SubscriptionHub(process.env, metrics, log);

class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

const tokenIn = (request, query) =>
  request.headers.authorization?.match(/^Bearer (.+)$/i)?.[1] ??
  query.get('access_token') ??
  request.headers['sec-websocket-protocol'];

// Who asks: {token id, account id, scopes}. Without a valid token nothing is streamed.
const authenticate = async (request, query) => {
  const token = tokenIn(request, query);
  if (!token) throw new Refused(401, 'Missing access token');
  const account = await accountOf(database, token);
  if (!account) throw new Refused(401, 'Invalid access token');
  return account;
};

const channelOrRefuse = (name, params, account) => {
  const channel = channelFor(name, params, account);
  if (!channel) throw new Refused(404, 'Unknown stream type');
  if (!channel.scopes.some((scope) => account.scopes.includes(scope))) {
    throw new Refused(401, 'Access token does not have the required scopes');
  }
  return channel;
};

// Subscribes `send` to a channel; returns what ends the subscription.
const follow = (channel, account, send) => {
  const listener = async ({ event, payload }) => {
    if (channel.filtered && event === 'update' && payload.account.id !== account.id) {
      if (await blockedBetween(database, account.id, payload.account.id)) return;
    }
    send(event, typeof payload === 'object' ? JSON.stringify(payload) : payload);
  };
  const guarded = (message) => listener(message).catch((error) => log('error', error.message));
  for (const id of channel.ids) hub.add(id, guarded, { announced: channel.announced });
  return () => channel.ids.forEach((id) => hub.remove(id, guarded));
};

// Closes the connection when its token or its account is no longer welcome.
const watchForKill = (account, close) => {
  const listener = ({ event }) => event === 'kill' && close();
  const ids = [`timeline:access_token:${account.tokenId}`, `timeline:system:${account.id}`];
  ids.forEach((id) => hub.add(id, listener));
  return () => ids.forEach((id) => hub.remove(id, listener));
};

const count = (type, name) => {
  metrics.connectedClients.inc({ type });
  metrics.connectedChannels.inc({ type, channel: name });
  return () => {
    metrics.connectedClients.dec({ type });
    metrics.connectedChannels.dec({ type, channel: name });
  };
};

const serveEvents = async (request, response, url) => {
  const account = await authenticate(request, url.searchParams);
  const name = url.pathname.slice('/api/v1/streaming/'.length).replaceAll('/', ':');
  const channel = channelOrRefuse(name, url.searchParams, account);
  response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'private, no-store' });
  response.write(':)\n');

  const send = (event, payload) => {
    metrics.messagesSent.inc({ type: 'eventsource' });
    response.write(`event: ${event}\ndata: ${payload}\n\n`);
  };
  const ends = [
    follow(channel, account, send),
    watchForKill(account, () => response.end()),
    count('eventsource', name),
  ];
  const thump = setInterval(() => response.write(':thump\n'), THUMP_MS);
  request.on('close', () => {
    clearInterval(thump);
    ends.forEach((end) => end());
  });
};

const handle = async (request, response) => {
  const url = new URL(request.url, 'http://localhost');
  const plain = (status, body, type = 'text/plain') => {
    response.writeHead(status, { 'Content-Type': type, 'Cache-Control': 'private, no-store' }).end(body);
  };
  if (url.pathname === '/api/v1/streaming/health') return plain(200, 'OK');
  if (url.pathname === '/metrics') return plain(200, await metrics.registry.metrics(), metrics.registry.contentType);
  if (request.method !== 'GET' || !url.pathname.startsWith('/api/v1/streaming/')) return plain(404, 'Not found');
  return serveEvents(request, response, url);
};

const server = createServer((request, response) => {
  handle(request, response).catch((error) => {
    const status = error instanceof Refused ? error.status : 500;
    if (status === 500) log('error', error.message);
    const message = status === 500 ? 'An unexpected error occurred' : error.message;
    response.writeHead(status, { 'Content-Type': 'application/json', 'X-Error-Message': message });
    response.end(JSON.stringify({ error: message }));
  });
});

const sockets = new WebSocketServer({ noServer: true, maxPayload: 16 * 1024 });

const serveSocket = (socket, account, query) => {
  const subscriptions = new Map();
  const keyOf = ({ stream, tag, list }) => [stream, tag ?? list].filter(Boolean).join(':');

  const subscribe = (params) => {
    const key = keyOf(params);
    if (subscriptions.has(key)) return;
    const channel = channelOrRefuse(params.stream, new URLSearchParams(params), account);
    const stream = [params.stream, params.tag ?? params.list].filter(Boolean);
    const send = (event, payload) => {
      metrics.messagesSent.inc({ type: 'websocket' });
      socket.send(JSON.stringify({ stream, event, payload }));
    };
    const ends = [follow(channel, account, send), count('websocket', params.stream)];
    subscriptions.set(key, () => ends.forEach((end) => end()));
  };
  const commands = {
    subscribe,
    unsubscribe: (params) => {
      subscriptions.get(keyOf(params))?.();
      subscriptions.delete(keyOf(params));
    },
  };
  const obey = (command, params) => {
    try {
      commands[command]?.(params);
    } catch (error) {
      socket.send(JSON.stringify({ error: error.message, status: error.status ?? 400 }));
    }
  };

  const endWatch = watchForKill(account, () => socket.close());
  let alive = true;
  const ping = setInterval(() => {
    if (!alive) return socket.terminate();
    alive = false;
    return socket.ping();
  }, PING_MS);
  socket.on('pong', () => { alive = true; });
  socket.on('error', (error) => log('warn', error.message));
  socket.on('message', (data) => {
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      return log('warn', 'a message that is no JSON');
    }
    const { type, ...params } = message ?? {};
    return obey(type, params);
  });
  socket.on('close', () => {
    clearInterval(ping);
    endWatch();
    subscriptions.forEach((end) => end());
  });
  if (query.get('stream')) obey('subscribe', Object.fromEntries(query));
};

server.on('upgrade', async (request, socket, head) => {
  const query = new URL(request.url, 'http://localhost').searchParams;
  socket.on('error', (error) => log('warn', error.message));
  try {
    const account = await authenticate(request, query);
    sockets.handleUpgrade(request, socket, head, (client) => serveSocket(client, account, query));
  } catch (error) {
    const refused = error instanceof Refused;
    const message = refused ? error.message : 'An unexpected error occurred';
    if (!refused) log('error', error.message);
    socket.end([
      refused ? `HTTP/1.1 ${error.status} Unauthorized` : 'HTTP/1.1 500 Internal Server Error',
      'Connection: close', 'Content-Type: text/plain', `Content-Length: ${Buffer.byteLength(message)}`,
      `X-Error-Message: ${message}`, '', message,
    ].join('\r\n'));
  }
});

const { SOCKET, BIND = '127.0.0.1', PORT = '4000' } = process.env;
if (SOCKET) {
  server.listen(SOCKET, () => {
    chmodSync(SOCKET, 0o666);
    log('info', `Streaming API now listening on ${SOCKET}`);
  });
} else {
  server.listen(Number(PORT), BIND, () => log('info', `Streaming API now listening on ${BIND}:${PORT}`));
}
