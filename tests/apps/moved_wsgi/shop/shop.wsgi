import goods
from plain import answer


def shop(environ, start_response):
    told = [environ["SCRIPT_NAME"], environ["PATH_INFO"], environ.get("SHOP_NAME"), environ.get("HTTP_AUTHORIZATION"), goods.LIST]
    return answer(start_response, told)
