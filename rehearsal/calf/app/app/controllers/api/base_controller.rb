# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

class Api::BaseController < ActionController::API
  before_action { response.cache_control.replace(private: true, no_store: true) }
  after_action { response.headers.reverse_merge!(Calf::RateLimitHeaders.tightest(request.env["rack.attack.throttle_data"])) }

  rescue_from(ActiveRecord::RecordNotFound) { render_error(404, "Record not found") }
  rescue_from(ActiveRecord::RecordInvalid, ArgumentError) { |error| render_error(422, error.message) }

  # Declares what a token must allow before an action is run.
  def self.requires_scope(scope, **options)
    before_action(**options) { require_scope(scope) }
  end

  def missing = render_error(404, "Record not found")

  private

  def render_error(status, message) = render(json: { error: message }, status:)

  def token
    return @token if defined?(@token)

    bearer = request.authorization.to_s[/\ABearer (.+)\z/i, 1] || params[:access_token]
    @token = OauthAccessToken.authenticate(bearer)
  end

  def current_user = token&.resource_owner
  def current_account = current_user&.account

  def require_scope(scope)
    return render_error(401, "The access token is invalid") unless token
    return render_error(403, "This action is outside the authorized scopes") unless token.scope?(scope)

    render_error(422, "This method requires an authenticated user") unless current_user
    render_error(403, "Your login is currently disabled") if current_user && !current_user.functional?
  end

  # Keyset paging by id, newest first, with the links to the neighbours.
  def page(scope, table: scope.table_name, default: 20, maximum: 40)
    scope = scope.where("#{table}.id < ?", params[:max_id]) if params[:max_id]
    after = params[:min_id] || params[:since_id]
    scope = scope.where("#{table}.id > ?", after) if after
    scope.limit((params[:limit] || default).to_i.clamp(1, maximum)).to_a.tap { |records| link(records) }
  end

  def link(records)
    return if records.empty?

    kept = request.query_parameters.except(:max_id, :min_id, :since_id)
    address = ->(extra) { "#{Calf::Settings.base_url}#{request.path}?#{kept.merge(extra).to_query}" }
    response.headers["Link"] = %(<#{address.(max_id: records.last.id)}>; rel="next", <#{address.(min_id: records.first.id)}>; rel="prev")
  end
end
