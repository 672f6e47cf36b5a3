// SPDX-License-Identifier: GPL-3.0-or-later

const PUBLIC = { scopes: ['read', 'read:statuses'], filtered: true };
const PERSONAL = { scopes: ['read', 'read:statuses'] };
const NOTIFICATIONS = ['read', 'read:notifications'];

const media = (params) => (params.get('only_media') === 'true' ? ':media' : '');
const tag = (params) => params.get('tag')?.toLowerCase();

// The Redis channels behind a stream's name, the scopes that open it, whether blocks apply, and whether the
// application must be told that someone listens.
const STREAMS = {
  user: (_params, { id, scopes }) => {
    const notifications = NOTIFICATIONS.some((scope) => scopes.includes(scope));
    const ids = [`timeline:${id}`, ...(notifications ? [`timeline:${id}:notifications`] : [])];
    return { ids, ...PERSONAL, announced: true };
  },
  'user:notification': (_params, { id }) => (
    { ids: [`timeline:${id}:notifications`], scopes: NOTIFICATIONS, announced: true }
  ),
  public: (params) => ({ ids: [`timeline:public${media(params)}`], ...PUBLIC }),
  'public:local': (params) => ({ ids: [`timeline:public:local${media(params)}`], ...PUBLIC }),
  'public:remote': (params) => ({ ids: [`timeline:public:remote${media(params)}`], ...PUBLIC }),
  'public:media': () => ({ ids: ['timeline:public:media'], ...PUBLIC }),
  'public:local:media': () => ({ ids: ['timeline:public:local:media'], ...PUBLIC }),
  'public:remote:media': () => ({ ids: ['timeline:public:remote:media'], ...PUBLIC }),
  hashtag: (params) => tag(params) && { ids: [`timeline:hashtag:${tag(params)}`], ...PUBLIC },
  'hashtag:local': (params) => tag(params) && { ids: [`timeline:hashtag:${tag(params)}:local`], ...PUBLIC },
  direct: (_params, { id }) => ({ ids: [`timeline:direct:${id}`], ...PERSONAL }),
};

export const channelFor = (name, params, account) => STREAMS[name]?.(params, account);
