# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

class WellKnownController < ActionController::API
  def webfinger
    name = params[:resource].to_s[/\Aacct:@?([^@]+)@#{Regexp.escape(Calf::Settings.local_domain)}\z/, 1]
    account = name && Account.local.find_local_or_remote(name)
    return head(:not_found) unless account

    expires_in 3.days, public: true
    links = [{ rel: "self", type: "application/activity+json", href: account.actor_uri },
             { rel: "http://webfinger.net/rel/profile-page", type: "text/html", href: account.page_url }]
    render json: { subject: "acct:#{account.username}@#{Calf::Settings.local_domain}", aliases: [account.actor_uri], links: },
           content_type: "application/jrd+json"
  end

  def nodeinfo_index
    expires_in 3.days, public: true
    render json: { links: [{ rel: "http://nodeinfo.diaspora.software/ns/schema/2.0", href: "#{Calf::Settings.base_url}/nodeinfo/2.0" }] }
  end

  def nodeinfo
    expires_in 30.minutes, public: true
    render json: { version: "2.0", software: { name: "calf", version: Calf::VERSION }, protocols: ["activitypub"], openRegistrations: false,
                   usage: { users: { total: User.count }, localPosts: Status.where(local: true).count } }
  end
end
