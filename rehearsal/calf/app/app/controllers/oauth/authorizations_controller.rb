# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

class Oauth::AuthorizationsController < ApplicationController
  LIFETIME_SECONDS = 600

  before_action :sign_in_first
  before_action :check_request, except: :show

  # The form of a client may lead anywhere: the policy of this page says so.
  content_security_policy { |policy| policy.form_action(nil) }

  def new; end

  def show
    render plain: params[:code].to_s
  end

  def create
    grant = OauthAccessGrant.create!(
      application: @application, resource_owner: current_user, expires_in: LIFETIME_SECONDS, redirect_uri: params[:redirect_uri],
      scopes: scopes.join(" "), code_challenge: params[:code_challenge], code_challenge_method: params[:code_challenge_method]
    )
    out_of_band = params[:redirect_uri] == OauthApplication::OUT_OF_BAND
    out_of_band ? redirect_to("/oauth/authorize/native?code=#{grant.token}") : answer(code: grant.token)
  end

  def destroy = answer(error: "access_denied")

  private

  def scopes = params[:scope].presence&.split || ["read"]

  def sign_in_first
    return if current_user

    session[:return_to] = request.fullpath
    redirect_to "/auth/sign_in"
  end

  def check_request
    @application = OauthApplication.find_by(uid: params[:client_id])
    return refuse("The client is not known.") unless @application
    return refuse("The redirect URI is not one of the client's.") unless @application.redirect_uris.include?(params[:redirect_uri])
    return refuse("Only response_type=code is supported.") unless params[:response_type] == "code"

    refuse("The scope is not one of the client's.") unless @application.allows?(scopes)
  end

  def refuse(reason) = render(plain: reason, status: :bad_request)

  def answer(**values)
    uri = URI(params[:redirect_uri])
    uri.query = [uri.query, values.merge(state: params[:state]).compact.to_query].compact_blank.join("&")
    redirect_to uri.to_s, allow_other_host: true
  end
end
